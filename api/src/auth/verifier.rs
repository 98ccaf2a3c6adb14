//! From a token to a caller, and from a caller to a token.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, EncodingKey, Header, Validation, decode, decode_header, encode};

use super::claims::{Claims, MintedClaims, subject_is_valid};
use super::jwks::KeySet;
use super::key::{ALGORITHMS, VerifyingKey};
use super::secret::{self, MissingKey};
use super::watched::WatchedKey;
use super::{AuthError, Caller, KeyError, Roles};
use crate::settings::Settings;

const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Verifies tokens with whatever keys are configured. A clone is a reference to the same keys.
#[derive(Clone)]
pub struct TokenVerifier(Arc<Inner>);

struct Inner {
    shared: Shared,
    public: Option<Arc<WatchedKey>>,
    key_set: Option<KeySet>,
    rules: Rules,
}

/// The HS256 key: `daybook token` signs with it.
enum Shared {
    /// Nodes that share a database make none: other keys verify tokens there.
    Absent,
    Fixed(VerifyingKey, Vec<u8>),
    File(Arc<WatchedKey>, std::path::PathBuf),
}

struct Rules {
    // One for each algorithm, in the order of ALGORITHMS, made once: a validation holds sets.
    validations: [Validation; ALGORITHMS.len()],
    issuer: Option<String>,
    audience: Option<String>,
    /// What no subject may begin with.
    reserved: Vec<&'static str>,
}

impl std::fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenVerifier(..)")
    }
}

impl TokenVerifier {
    /// Reads, or makes, the keys that the settings name. The key set is fetched when the first token needs it. Subjects
    /// that begin with one of `reserved` are refused: they name actors that have no token.
    ///
    /// # Errors
    /// [`KeyError`] when a key cannot be read or is of no use, or when there is none to verify tokens with.
    pub fn open(settings: &Settings, reserved: Vec<&'static str>) -> Result<Self, KeyError> {
        Self::open_with(settings, reserved, MissingKey::Make)
    }

    /// As [`open`](Self::open), with a choice of what becomes of a key that is missing from the data folder.
    ///
    /// # Errors
    /// The same; [`KeyError::NotMade`] for a key that is missing and not made.
    pub fn open_with(settings: &Settings, reserved: Vec<&'static str>, missing: MissingKey) -> Result<Self, KeyError> {
        let public = match &settings.jwt_public_key_file {
            Some(path) => Some(Arc::new(WatchedKey::open(path, |pem| VerifyingKey::from_pem(&pem))?)),
            None => None,
        };
        Ok(Self(Arc::new(Inner {
            shared: Shared::open(settings, missing)?,
            public,
            key_set: settings.jwks_url.clone().map(KeySet::new).transpose()?,
            rules: Rules::new(settings.jwt_issuer.clone(), settings.jwt_audience.clone(), reserved),
        })))
    }

    /// Fetches the key set once, when one is configured: for a check before the start.
    pub async fn check(&self) -> Result<(), KeyError> {
        match &self.0.key_set {
            Some(key_set) => key_set.check().await,
            None => Ok(()),
        }
    }

    /// The caller that `token` names, when a key bound to the token's algorithm has signed it.
    pub async fn verify(&self, token: &str) -> Result<Caller, AuthError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::Malformed);
        }
        let header = decode_header(token).map_err(|error| header_error(error.kind()))?;
        if header.crit.is_some() {
            return Err(AuthError::CriticalHeader);
        }
        if header.alg == Algorithm::HS256 {
            let key = self.0.shared.key().await.ok_or(AuthError::Algorithm)?;
            return self.0.rules.verify(token, &key);
        }
        self.verify_public(token, &header).await
    }

    /// Whether there is a key to sign with.
    pub fn can_mint(&self) -> Result<(), KeyError> {
        self.0.shared.bytes().map(drop)
    }

    /// A token for `subject`, signed with the shared key and valid from now for `ttl`.
    pub fn mint(&self, subject: &str, roles: Roles, projects: &[i64], ttl: Duration) -> Result<String, KeyError> {
        if !subject_is_valid(subject, &self.0.rules.reserved) {
            return Err(KeyError::Mint(
                "the subject must have 1 to 255 characters and not begin like an actor of the server's own",
            ));
        }
        let now = jsonwebtoken::get_current_timestamp();
        let claims = MintedClaims {
            sub: subject,
            roles: roles.iter().map(super::Role::name).collect(),
            projects,
            iat: now,
            // A token of less than a second would be over before it is used.
            exp: now.saturating_add(ttl.as_secs().max(1)),
            iss: self.0.rules.issuer.as_deref(),
            aud: self.0.rules.audience.as_deref(),
        };
        let key = EncodingKey::from_secret(&self.0.shared.bytes()?);
        encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(|_| KeyError::Mint("signing failed"))
    }

    /// As if the last fetch of the key set were long ago.
    #[cfg(test)]
    pub(super) async fn forget_attempt(&self) {
        if let Some(key_set) = &self.0.key_set {
            key_set.forget_attempt().await;
        }
    }

    async fn verify_public(&self, token: &str, header: &Header) -> Result<Caller, AuthError> {
        let mut refused = AuthError::UnknownKey;
        if let Some(public) = &self.0.public {
            let key = public.get().await;
            if key.algorithm == header.alg {
                match self.0.rules.verify(token, &key) {
                    // Another key may have signed it; any other fault is the token's own.
                    Err(AuthError::BadSignature) => refused = AuthError::BadSignature,
                    verdict => return verdict,
                }
            } else {
                refused = AuthError::Algorithm;
            }
        }
        let Some(key_set) = &self.0.key_set else {
            return Err(if self.0.public.is_some() { refused } else { AuthError::Algorithm });
        };
        if !ALGORITHMS.contains(&header.alg) {
            return Err(AuthError::Algorithm);
        }
        for key in key_set.candidates(header.kid.as_deref(), header.alg).await? {
            match self.0.rules.verify(token, &key) {
                Err(AuthError::BadSignature) => refused = AuthError::BadSignature,
                verdict => return verdict,
            }
        }
        Err(refused)
    }
}

impl Shared {
    fn open(settings: &Settings, missing: MissingKey) -> Result<Self, KeyError> {
        if let Some(path) = &settings.jwt_secret_file {
            let parse = |content| secret::from_file(content).map(|secret| VerifyingKey::from_secret(&secret));
            let watched = Arc::new(WatchedKey::open(path, parse)?);
            let shared = Self::File(watched, path.clone());
            secret::warn_if_short(&shared.bytes()?, "DAYBOOK_JWT_SECRET_FILE");
            return Ok(shared);
        }
        let bytes = match &settings.jwt_secret {
            Some(secret) => secret.expose().as_bytes().to_vec(),
            None if settings.database_url.is_none() => secret::in_data_folder(&settings.data, missing)?,
            None if settings.jwt_public_key_file.is_some() || settings.jwks_url.is_some() => return Ok(Self::Absent),
            None => return Err(KeyError::Unset),
        };
        secret::warn_if_short(&bytes, "DAYBOOK_JWT_SECRET");
        Ok(Self::Fixed(VerifyingKey::from_secret(&bytes), bytes))
    }

    async fn key(&self) -> Option<VerifyingKey> {
        match self {
            Self::Absent => None,
            Self::Fixed(key, _) => Some(key.clone()),
            Self::File(watched, _) => Some(watched.get().await),
        }
    }

    fn bytes(&self) -> Result<Vec<u8>, KeyError> {
        match self {
            Self::Absent => Err(KeyError::NoneToSignWith),
            Self::Fixed(_, bytes) => Ok(bytes.clone()),
            Self::File(_, path) => {
                let content = std::fs::read(path).map_err(|source| KeyError::Read { path: path.clone(), source })?;
                secret::from_file(content).map_err(|problem| KeyError::Content { path: path.clone(), problem })
            }
        }
    }
}

impl Rules {
    fn new(issuer: Option<String>, audience: Option<String>, reserved: Vec<&'static str>) -> Self {
        let validations = ALGORITHMS.map(|algorithm| {
            let mut validation = Validation::new(algorithm);
            validation.leeway = 0;
            // A token is over in the very second that `exp` names, not after it.
            validation.reject_tokens_expiring_in_less_than = 1;
            // The library has one leeway for `exp` and `nbf`; theirs differ.
            validation.validate_nbf = false;
            validation.validate_aud = audience.is_some();
            // Without this the library lets a token pass that has no such claim at all.
            validation.required_spec_claims.extend(issuer.as_ref().map(|_| "iss".to_owned()));
            validation.required_spec_claims.extend(audience.as_ref().map(|_| "aud".to_owned()));
            validation.iss = issuer.clone().map(|issuer| [issuer].into());
            validation.aud = audience.clone().map(|audience| [audience].into());
            validation
        });
        Self { validations, issuer, audience, reserved }
    }

    fn verify(&self, token: &str, key: &VerifyingKey) -> Result<Caller, AuthError> {
        let validation = self.validations.iter().find(|rules| rules.algorithms.contains(&key.algorithm));
        let validation = validation.ok_or(AuthError::Algorithm)?;
        match decode::<Claims>(token, &key.key, validation) {
            Ok(verified) => verified.claims.into_caller(&self.reserved),
            Err(error) => Err(token_error(error.kind())),
        }
    }
}

// A header whose `alg` is `none` or made up is JSON, but does not fit the library's type.
fn header_error(kind: &ErrorKind) -> AuthError {
    match kind {
        ErrorKind::Json(error) if error.is_data() => AuthError::Algorithm,
        ErrorKind::InvalidAlgorithmName | ErrorKind::InvalidAlgorithm => AuthError::Algorithm,
        _ => AuthError::Malformed,
    }
}

fn token_error(kind: &ErrorKind) -> AuthError {
    match kind {
        ErrorKind::InvalidSignature => AuthError::BadSignature,
        ErrorKind::ExpiredSignature => AuthError::Expired,
        ErrorKind::ImmatureSignature => AuthError::NotYetValid,
        ErrorKind::InvalidIssuer => AuthError::Issuer,
        ErrorKind::InvalidAudience => AuthError::Audience,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => AuthError::Algorithm,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => AuthError::Issuer,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => AuthError::Audience,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::Json(_) => AuthError::Claims,
        _ => AuthError::Malformed,
    }
}
