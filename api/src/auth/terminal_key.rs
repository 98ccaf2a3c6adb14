//! The keys of terminals: of each only a salted digest is kept, so that nobody can read a key back from the log.

use aws_lc_rs::{constant_time, digest, rand};
use daybook_domain::shop::KeyDigest;

const SALT_BYTES: usize = 16;

/// The system gave no random bytes for a salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system has no randomness")]
pub struct NoRandomness;

/// What is kept of `key`: never the same twice.
///
/// # Errors
/// [`NoRandomness`]
pub fn digest(key: &str) -> Result<KeyDigest, NoRandomness> {
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt).map_err(|_| NoRandomness)?;
    Ok(KeyDigest { salt: hex(&salt), digest: hex(salted(&salt, key).as_ref()) })
}

/// Whether `key` is the one that was kept. How long the answer takes tells nothing about the digest.
pub fn matches(kept: &KeyDigest, key: &str) -> bool {
    match (bytes(&kept.salt), bytes(&kept.digest)) {
        (Some(salt), Some(digest)) => {
            constant_time::verify_slices_are_equal(&digest, salted(&salt, key).as_ref()).is_ok()
        }
        _ => false,
    }
}

fn salted(salt: &[u8], key: &str) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(salt);
    context.update(key.as_bytes());
    context.finish()
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = hex.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_again_by_its_digest_and_no_other_is() {
        let kept = digest("s3cret").unwrap();
        assert!(matches(&kept, "s3cret"));
        for other in ["", "s3cre", "s3cret ", "S3cret", "s3crets"] {
            assert!(!matches(&kept, other), "{other:?}");
        }
        assert!(!format!("{kept:?}").contains("s3cret"));
    }

    #[test]
    fn the_same_key_is_kept_differently_each_time() {
        let (one, other) = (digest("s3cret").unwrap(), digest("s3cret").unwrap());
        assert_ne!(one, other);
        assert_eq!((one.salt.len(), one.digest.len()), (2 * SALT_BYTES, 64));
    }

    #[test]
    fn the_digest_is_sha_256_of_the_salt_and_the_key() {
        // From `printf 'salts3cret' | sha256sum`.
        let digest = "2d03bc30a3c7b88194d8a8cf613e2b7b0ce5d07f5e03836545684a8a21eae47a";
        assert!(matches(&KeyDigest { salt: hex(b"salt"), digest: digest.to_owned() }, "s3cret"));
    }

    #[test]
    fn a_damaged_digest_matches_nothing() {
        let kept = digest("s3cret").unwrap();
        for damaged in ["", "0", "zz", "é", &kept.digest[1..]] {
            assert!(!matches(&KeyDigest { digest: damaged.to_owned(), ..kept.clone() }, "s3cret"), "{damaged:?}");
            assert!(!matches(&KeyDigest { salt: damaged.to_owned(), ..kept.clone() }, "s3cret"), "{damaged:?}");
        }
    }
}
