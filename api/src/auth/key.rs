//! Keys, each bound to the one algorithm it verifies.

use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

/// The algorithms that tokens may use, and nothing else.
pub(super) const ALGORITHMS: [Algorithm; 4] = [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

type ReadPem = fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>;

/// A key that verifies one algorithm: a token that names another one never meets it.
#[derive(Clone)]
pub(super) struct VerifyingKey {
    pub(super) algorithm: Algorithm,
    pub(super) key: Arc<DecodingKey>,
}

impl VerifyingKey {
    pub(super) fn from_secret(secret: &[u8]) -> Self {
        Self { algorithm: Algorithm::HS256, key: Arc::new(DecodingKey::from_secret(secret)) }
    }

    /// The public key of a PEM file, its kind found from its content.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, &'static str> {
        const ALLOWED: &str = "it must be a PEM public key (BEGIN PUBLIC KEY): RSA of 2048 to 8192 bits for RS256, \
                               EC P-256 for ES256, or Ed25519 for EdDSA";
        if String::from_utf8_lossy(pem).contains("PRIVATE KEY") {
            return Err("it holds a private key: give the server the public half only");
        }
        let candidates: [(Algorithm, ReadPem, _); 3] = [
            (
                Algorithm::RS256,
                DecodingKey::from_rsa_pem,
                &RSA_PKCS1_2048_8192_SHA256 as &'static dyn VerificationAlgorithm,
            ),
            (Algorithm::ES256, DecodingKey::from_ec_pem, &ECDSA_P256_SHA256_FIXED),
            (Algorithm::EdDSA, DecodingKey::from_ed_pem, &ED25519),
        ];
        candidates
            .into_iter()
            .find_map(|(algorithm, read, verification)| {
                let key = read(pem).ok()?;
                // The JWT library looks at the envelope only: size and curve are checked here, at the start.
                ParsedPublicKey::new(verification, key.try_get_as_bytes().ok()?).ok()?;
                Some(Self { algorithm, key: Arc::new(key) })
            })
            .ok_or(ALLOWED)
    }

    /// A key of a key set; none for keys of other algorithms or other uses, and for shared secrets, which have no
    /// business in a public document.
    pub(super) fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let (algorithm, named) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => {
                (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
            }
            _ => return None,
        };
        let common = &jwk.common;
        let right_algorithm = common.key_algorithm.is_none_or(|algorithm| algorithm == named);
        let right_use = common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
        let may_verify = common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
        if !(right_algorithm && right_use && may_verify) {
            return None;
        }
        Some(Self { algorithm, key: Arc::new(DecodingKey::from_jwk(jwk).ok()?) })
    }
}
