//! The shared HS256 key: given by the operator, or made on first use in the data folder.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use daybook_eventlog::LOG_FILE;

use super::KeyError;

const FILE_NAME: &str = "jwt.key";
const KEY_BYTES: usize = 32;
const KEY_BYTES_ADVISED: usize = 32;

/// What becomes of a key that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingKey {
    /// It is made, where there is a log.
    Make,
    /// Nothing is made.
    Refuse,
}

/// The key in `<data>/jwt.key`. A key that is missing is made beside a log only: a folder without one is most often a
/// folder's name mistyped. Processes that make it at the same time get the same key.
pub(super) fn in_data_folder(data: &Path, missing: MissingKey) -> Result<Vec<u8>, KeyError> {
    let path = data.join(FILE_NAME);
    if !path.exists() {
        if missing == MissingKey::Refuse || !data.join(LOG_FILE).exists() {
            return Err(KeyError::NotMade { folder: data.to_owned() });
        }
        make(data, &path).map_err(|source| KeyError::Make { path: path.clone(), source })?;
    }
    let read = |source| KeyError::Read { path: path.clone(), source };
    let mode = fs::metadata(&path).map_err(read)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::OpenToOthers { path, mode });
    }
    let key = trimmed(fs::read(&path).map_err(read)?);
    if key.len() != 2 * KEY_BYTES || !key.iter().all(u8::is_ascii_hexdigit) {
        let problem = "it must hold 64 hexadecimal digits; delete it to get a new key (tokens made so far end then)";
        return Err(KeyError::Content { path, problem });
    }
    Ok(key)
}

/// The content of a secret file, without the line end that editors and `echo` leave.
pub(super) fn from_file(content: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    let secret = trimmed(content);
    if secret.is_empty() {
        return Err("it is empty; write the HS256 key into it, best 32 random bytes or more");
    }
    Ok(secret)
}

/// A short secret can be guessed from one token. It is the operator's choice, but not a silent one.
pub(super) fn warn_if_short(secret: &[u8], source: &str) {
    if secret.len() < KEY_BYTES_ADVISED {
        let bytes = secret.len();
        tracing::warn!(
            source,
            bytes,
            "the HS256 key is shorter than 32 bytes: use a longer one, like openssl rand -hex 32"
        );
    }
}

// Written in full under another name and then linked: the file never exists half written, and of two starters one
// wins while the other reads the winner's key.
fn make(data: &Path, path: &Path) -> io::Result<()> {
    let mut random = [0_u8; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("the system has no randomness"))?;
    let mut file = tempfile::NamedTempFile::new_in(data)?;
    file.write_all(hex(&random).as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => fs::File::open(data)?.sync_all(),
        Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(refused) => Err(refused.error),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        let written = write!(hex, "{byte:02x}");
        debug_assert!(written.is_ok(), "writing into a String does not fail");
        hex
    })
}

fn trimmed(mut content: Vec<u8>) -> Vec<u8> {
    while content.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        content.pop();
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_starters_agree_on_one_key_that_only_the_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join(LOG_FILE), "").unwrap();
        let keys: Vec<_> = std::thread::scope(|scope| {
            let starters: Vec<_> =
                (0..8).map(|_| scope.spawn(|| in_data_folder(&data, MissingKey::Make).unwrap())).collect();
            starters.into_iter().map(|starter| starter.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| key.len() == 64 && *key == keys[0]));
        let mode = fs::metadata(data.join(FILE_NAME)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 2, "nothing else is left behind");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join(LOG_FILE), "").unwrap();
        in_data_folder(data.path(), MissingKey::Make).unwrap();
        let path = data.path().join(FILE_NAME);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let message = in_data_folder(data.path(), MissingKey::Make).unwrap_err().to_string();
        assert!(message.contains("mode 644") && message.contains("chmod 600"), "{message}");
    }

    #[test]
    fn a_damaged_key_is_refused_without_being_shown() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join(LOG_FILE), "").unwrap();
        in_data_folder(data.path(), MissingKey::Make).unwrap();
        fs::write(data.path().join(FILE_NAME), "hush").unwrap();
        let message = in_data_folder(data.path(), MissingKey::Make).unwrap_err().to_string();
        assert!(message.contains("64 hexadecimal digits") && !message.contains("hush"), "{message}");
    }

    #[test]
    fn a_key_is_made_beside_a_log_only() {
        let data = tempfile::tempdir().unwrap();
        for missing in [MissingKey::Make, MissingKey::Refuse] {
            assert!(matches!(in_data_folder(data.path(), missing), Err(KeyError::NotMade { .. })));
        }
        fs::write(data.path().join(LOG_FILE), "").unwrap();
        assert!(matches!(in_data_folder(data.path(), MissingKey::Refuse), Err(KeyError::NotMade { .. })));
        let made = in_data_folder(data.path(), MissingKey::Make).unwrap();
        assert_eq!(in_data_folder(data.path(), MissingKey::Refuse).unwrap(), made);
    }
}
