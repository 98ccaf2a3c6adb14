//! Tokens, good and bad, against every kind of key.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as RsaKey, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};

use super::{AuthError, Role, Roles, TokenVerifier};
use crate::settings::{Settings, Sources};

const SECRET: &str = "a secret of more than thirty-two bytes";

struct Rig {
    folder: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A key is made beside a log only.
        fs::write(folder.path().join(daybook_eventlog::LOG_FILE), "").unwrap();
        Self { folder }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn open(&self, settings: &[(&'static str, &str)]) -> Result<TokenVerifier, super::KeyError> {
        let mut sources = Sources::default();
        sources.flags.insert("data", self.folder.path().to_str().unwrap().to_owned());
        sources.flags.extend(settings.iter().map(|(key, text)| (*key, (*text).to_owned())));
        TokenVerifier::open(&Settings::load(&sources).unwrap(), vec!["terminal:", "system:"])
    }
}

/// A key pair as the two PEM files that an operator has.
struct Pair {
    algorithm: Algorithm,
    signing: EncodingKey,
    public_pem: String,
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

fn public_pem(key: &impl AsDer<PublicKeyX509Der<'static>>) -> String {
    pem("PUBLIC KEY", key.as_der().unwrap().as_ref())
}

fn rsa() -> Pair {
    use aws_lc_rs::encoding::Pkcs8V1Der;
    let key = RsaKey::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'static> = key.as_der().unwrap();
    let signing = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes()).unwrap();
    Pair { algorithm: Algorithm::RS256, signing, public_pem: public_pem(key.public_key()) }
}

fn ec() -> Pair {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let signing = EncodingKey::from_ec_der(key.to_pkcs8v1().unwrap().as_ref());
    Pair { algorithm: Algorithm::ES256, signing, public_pem: public_pem(key.public_key()) }
}

fn ed() -> Pair {
    let key = Ed25519KeyPair::generate().unwrap();
    let signing = EncodingKey::from_ed_der(key.to_pkcs8v1().unwrap().as_ref());
    Pair { algorithm: Algorithm::EdDSA, signing, public_pem: public_pem(key.public_key()) }
}

fn claims() -> Value {
    json!({"sub": "u1", "exp": get_current_timestamp() + 60})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn hs256(claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn signed(pair: &Pair, kid: Option<&str>) -> String {
    let mut header = Header::new(pair.algorithm);
    header.kid = kid.map(str::to_owned);
    encode(&header, &claims(), &pair.signing).unwrap()
}

async fn refusal(verifier: &TokenVerifier, token: &str) -> AuthError {
    verifier.verify(token).await.unwrap_err()
}

#[tokio::test]
async fn a_minted_token_names_its_caller() {
    let rig = Rig::new();
    let verifier = rig.open(&[("jwt_issuer", "daybook"), ("jwt_audience", "shops")]).unwrap();
    let roles: Roles = [Role::Admin, Role::Auditor].into_iter().collect();
    let token = verifier.mint("boss", roles, &[1, 2], Duration::from_secs(60)).unwrap();
    // A second start reads the key that the first one made.
    let caller = rig.open(&[("jwt_issuer", "daybook")]).unwrap().verify(&token).await.unwrap();
    assert_eq!((caller.subject.as_str(), caller.roles, caller.projects.as_slice()), ("boss", roles, [1, 2].as_slice()));
    assert!(!caller.roles.contains(Role::Staff) && caller.roles.any(&[Role::Staff, Role::Admin]));
    assert!(verifier.mint("", roles, &[], Duration::from_secs(60)).is_err());
}

#[tokio::test]
async fn public_keys_of_every_kind_verify_their_own_algorithm_only() {
    let rig = Rig::new();
    let pairs = [rsa(), ec(), ed()];
    for pair in &pairs {
        let path = rig.file("key.pem", &pair.public_pem);
        let verifier = rig.open(&[("jwt_secret", SECRET), ("jwt_public_key_file", path.to_str().unwrap())]).unwrap();
        assert_eq!(verifier.verify(&signed(pair, None)).await.unwrap().subject, "u1");
        assert!(verifier.verify(&hs256(&claims())).await.is_ok(), "the shared key works beside it");
        for other in pairs.iter().filter(|other| other.algorithm != pair.algorithm) {
            assert_eq!(refusal(&verifier, &signed(other, None)).await, AuthError::Algorithm);
        }
        let confused =
            encode(&Header::new(Algorithm::HS256), &claims(), &EncodingKey::from_secret(pair.public_pem.as_bytes()));
        assert_eq!(refusal(&verifier, &confused.unwrap()).await, AuthError::BadSignature);
    }
    let path = rig.file("key.pem", &ec().public_pem);
    let verifier = rig.open(&[("jwt_public_key_file", path.to_str().unwrap())]).unwrap();
    assert_eq!(refusal(&verifier, &signed(&ec(), None)).await, AuthError::BadSignature);
}

#[test]
fn a_public_key_file_of_another_kind_stops_the_start() {
    let rig = Rig::new();
    let p384 = EcdsaKeyPair::generate(&aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let private = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
    let wrong = [
        (public_pem(p384.public_key()), "EC P-256"),
        (pem("PRIVATE KEY", private.as_ref()), "private key"),
        ("hello".to_owned(), "PEM public key"),
        (pem("PUBLIC KEY", b"hello"), "PEM public key"),
    ];
    for (content, message) in wrong {
        let path = rig.file("key.pem", &content);
        let error = rig.open(&[("jwt_public_key_file", path.to_str().unwrap())]).unwrap_err().to_string();
        assert!(error.contains(message) && error.contains("key.pem"), "{error}");
    }
}

#[tokio::test]
async fn none_and_unknown_algorithms_are_refused() {
    let verifier = Rig::new().open(&[("jwt_secret", SECRET)]).unwrap();
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    for algorithm in ["none", "None", "NONE", "HS257", ""] {
        let unsigned = format!("{}.{}.", part(json!({"alg": algorithm})), part(claims()));
        assert_eq!(refusal(&verifier, &unsigned).await, AuthError::Algorithm, "{algorithm}");
    }
    for (algorithm, secret) in [(Algorithm::HS384, SECRET), (Algorithm::HS512, SECRET)] {
        let token = encode(&Header::new(algorithm), &claims(), &EncodingKey::from_secret(secret.as_bytes())).unwrap();
        assert_eq!(refusal(&verifier, &token).await, AuthError::Algorithm);
    }
    assert_eq!(refusal(&verifier, &signed(&ed(), None)).await, AuthError::Algorithm, "no public key is configured");
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["b64".to_owned()]);
    let token = encode(&header, &claims(), &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    assert_eq!(refusal(&verifier, &token).await, AuthError::CriticalHeader);
}

#[tokio::test]
async fn times_are_kept_to_the_second() {
    let verifier = Rig::new().open(&[("jwt_secret", SECRET)]).unwrap();
    let now = get_current_timestamp();
    assert_eq!(refusal(&verifier, &hs256(&with("exp", json!(now)))).await, AuthError::Expired);
    assert_eq!(refusal(&verifier, &hs256(&with("exp", json!(now - 1)))).await, AuthError::Expired);
    for claim in ["nbf", "iat"] {
        assert_eq!(refusal(&verifier, &hs256(&with(claim, json!(now + 60)))).await, AuthError::NotYetValid, "{claim}");
        assert!(verifier.verify(&hs256(&with(claim, json!(now + 25)))).await.is_ok(), "{claim}");
    }
    assert_eq!(refusal(&verifier, &hs256(&json!({"sub": "u1"}))).await, AuthError::Claims);
    assert_eq!(refusal(&verifier, &hs256(&with("exp", json!("tomorrow")))).await, AuthError::Claims);
    assert_eq!(refusal(&verifier, &hs256(&with("nbf", json!("today")))).await, AuthError::Claims);
}

#[tokio::test]
async fn issuer_and_audience_are_checked_when_configured() {
    let rig = Rig::new();
    let verifier = rig.open(&[("jwt_secret", SECRET), ("jwt_issuer", "me"), ("jwt_audience", "you")]).unwrap();
    let good = json!({"sub": "u1", "exp": get_current_timestamp() + 60, "iss": "me", "aud": ["they", "you"]});
    assert!(verifier.verify(&hs256(&good)).await.is_ok());
    for (claim, value, error) in [
        ("iss", json!("he"), AuthError::Issuer),
        ("iss", Value::Null, AuthError::Issuer),
        ("aud", json!("they"), AuthError::Audience),
        ("aud", json!([]), AuthError::Audience),
        ("aud", Value::Null, AuthError::Audience),
    ] {
        let mut claims = good.clone();
        claims[claim] = value;
        assert_eq!(refusal(&verifier, &hs256(&claims)).await, error, "{claims}");
    }
    let open = rig.open(&[("jwt_secret", SECRET)]).unwrap();
    assert!(open.verify(&hs256(&good)).await.is_ok(), "not configured, not checked");
}

#[tokio::test]
async fn subjects_roles_and_projects_are_read_with_care() {
    let verifier = Rig::new().open(&[("jwt_secret", SECRET)]).unwrap();
    for sub in [json!(""), Value::Null, json!("x".repeat(256)), json!("terminal:0a1b"), json!("system:idle-sweep")] {
        assert_eq!(refusal(&verifier, &hs256(&with("sub", sub))).await, AuthError::Subject);
    }
    assert!(verifier.verify(&hs256(&with("sub", json!("ж".repeat(255))))).await.is_ok());
    for (claim, value) in [("sub", json!(5)), ("roles", json!("admin")), ("projects", json!(["1"])), ("tz", json!(3))] {
        assert_eq!(refusal(&verifier, &hs256(&with(claim, value))).await, AuthError::Claims, "{claim}");
    }
    let mut all = with("roles", json!(["king", "analyst", "analyst"]));
    all["tz"] = json!("Europe/Moscow");
    let caller = verifier.verify(&hs256(&all)).await.unwrap();
    assert_eq!(caller.roles.iter().collect::<Vec<_>>(), [Role::Analyst]);
    assert_eq!(caller.timezone.as_deref(), Some("Europe/Moscow"));
}

#[tokio::test]
async fn what_is_no_token_is_malformed() {
    let verifier = Rig::new().open(&[("jwt_secret", SECRET)]).unwrap();
    let long = "x".repeat(10_000);
    for token in ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", "é.é.é", &long] {
        assert_eq!(refusal(&verifier, token).await, AuthError::Malformed, "{token:.10}");
    }
    let good = hs256(&claims());
    let (head, _) = good.rsplit_once('.').unwrap();
    assert_eq!(refusal(&verifier, &format!("{head}.")).await, AuthError::BadSignature);
}

#[tokio::test]
async fn a_secret_file_is_read_again_when_it_changes() {
    let rig = Rig::new();
    let path = rig.file("secret", &format!("{SECRET}\n"));
    let verifier = rig.open(&[("jwt_secret_file", path.to_str().unwrap())]).unwrap();
    let old = hs256(&claims());
    assert!(verifier.verify(&old).await.is_ok());
    rig.file("secret", "another secret, of quite another length, too");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while verifier.verify(&old).await.is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "the change was never seen");
        tokio::task::yield_now().await;
    }
    let new = verifier.mint("u2", Roles::default(), &[], Duration::from_secs(60)).unwrap();
    assert_eq!(verifier.verify(&new).await.unwrap().subject, "u2");
}

#[test]
fn nothing_prints_a_key() {
    let rig = Rig::new();
    assert_eq!(format!("{:?}", rig.open(&[("jwt_secret", SECRET)]).unwrap()), "TokenVerifier(..)");
    let path = rig.file("secret", "");
    assert!(rig.open(&[("jwt_secret_file", path.to_str().unwrap())]).unwrap_err().to_string().contains("is empty"));
}

/// A key set on a local server, which can be changed and broken.
struct KeyServer {
    url: String,
    document: Arc<Mutex<Option<Value>>>,
    fetches: Arc<AtomicUsize>,
}

impl KeyServer {
    async fn start(keys: Value) -> Self {
        let document = Arc::new(Mutex::new(Some(json!({"keys": keys}))));
        let fetches = Arc::new(AtomicUsize::new(0));
        let (shown, counted) = (Arc::clone(&document), Arc::clone(&fetches));
        let router = axum::Router::new().fallback(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let shown = shown.lock().unwrap().clone();
            async move { shown.map(axum::Json).ok_or(axum::http::StatusCode::INTERNAL_SERVER_ERROR) }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, document, fetches }
    }

    fn fetched(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

fn jwk(pair: &Pair, kid: &str) -> Value {
    let mut jwk = Jwk::from_encoding_key(&pair.signing, pair.algorithm).unwrap();
    jwk.common.key_id = Some(kid.to_owned());
    serde_json::to_value(jwk).unwrap()
}

#[tokio::test]
async fn keys_of_a_key_set_verify_and_shared_secrets_in_it_do_not() {
    let (rsa, ec, ed) = (rsa(), ec(), ed());
    let shared = json!({"kty": "oct", "kid": "s", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(SECRET)});
    let strange = json!({"kty": "XYZ", "kid": "x"});
    let server = KeyServer::start(json!([strange, shared, jwk(&rsa, "r"), jwk(&ec, "e"), jwk(&ed, "d")])).await;
    let verifier = Rig::new().open(&[("jwks_url", &server.url)]).unwrap();
    verifier.check().await.unwrap();
    for (pair, kid) in [(&rsa, "r"), (&ec, "e"), (&ed, "d")] {
        assert_eq!(verifier.verify(&signed(pair, Some(kid))).await.unwrap().subject, "u1");
    }
    assert!(verifier.verify(&signed(&ed, None)).await.is_ok(), "one key of the algorithm needs no id");
    assert_eq!(refusal(&verifier, &signed(&ed, Some("e"))).await, AuthError::UnknownKey);
    assert_eq!(refusal(&verifier, &hs256(&claims())).await, AuthError::BadSignature);
    assert_eq!(server.fetched(), 1);
}

#[tokio::test]
async fn a_new_key_is_fetched_once_and_an_outage_keeps_the_old_ones() {
    let (old, new) = (ec(), ec());
    let server = KeyServer::start(json!([jwk(&old, "old")])).await;
    let verifier = Rig::new().open(&[("jwks_url", &server.url)]).unwrap();
    // Twenty at once, and one fetch.
    let token = signed(&old, Some("old"));
    let verdicts = futures::future::join_all((0..20).map(|_| verifier.verify(&token))).await;
    assert!(verdicts.iter().all(Result::is_ok));
    assert_eq!(server.fetched(), 1);

    *server.document.lock().unwrap() = Some(json!({"keys": [jwk(&old, "old"), jwk(&new, "new")]}));
    let rotated = signed(&new, Some("new"));
    assert_eq!(refusal(&verifier, &rotated).await, AuthError::UnknownKey);
    assert_eq!(server.fetched(), 1, "not twice within ten seconds");
    verifier.forget_attempt().await;
    assert!(verifier.verify(&rotated).await.is_ok());

    *server.document.lock().unwrap() = None;
    verifier.forget_attempt().await;
    assert_eq!(refusal(&verifier, &signed(&new, Some("newer"))).await, AuthError::UnknownKey);
    assert_eq!(server.fetched(), 3);
    assert!(verifier.verify(&rotated).await.is_ok() && verifier.verify(&token).await.is_ok());
}

#[tokio::test]
async fn a_key_set_that_never_came_is_no_verdict_on_the_token() {
    let server = KeyServer::start(json!([])).await;
    *server.document.lock().unwrap() = None;
    let verifier = Rig::new().open(&[("jwks_url", &server.url)]).unwrap();
    assert_eq!(refusal(&verifier, &signed(&ed(), Some("d"))).await, AuthError::KeysUnavailable);
    let message = verifier.check().await.unwrap_err().to_string();
    assert!(message.contains("answers 500"), "{message}");
}

#[tokio::test]
async fn nodes_on_a_database_make_no_key_of_their_own() {
    let rig = Rig::new();
    let database = ("database_url", "postgres://db.example/books");
    let message = rig.open(&[database]).unwrap_err().to_string();
    assert!(message.contains("DAYBOOK_JWT_SECRET_FILE") && message.contains("the same for all nodes"), "{message}");
    let shared = rig.open(&[database, ("jwt_secret", SECRET)]).unwrap();
    let token = shared.mint("u1", Roles::default(), &[], Duration::from_secs(60)).unwrap();

    let set = rig.open(&[database, ("jwks_url", "https://keys.example/set")]).unwrap();
    assert_eq!(set.verify(&token).await.unwrap_err(), AuthError::Algorithm);
    let message = set.mint("u1", Roles::default(), &[], Duration::from_secs(60)).unwrap_err().to_string();
    assert!(message.contains("set DAYBOOK_JWT_SECRET"), "{message}");
    assert!(!rig.folder.path().join("jwt.key").exists(), "no folder is used");
}
