//! Who is believed.

use std::collections::BTreeSet;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Caller, Place, Reply, Server};

const ACTIVE: &str = "/api/v1/reading-sessions/active";

fn claims() -> Value {
    json!({ "sub": Uuid::new_v4(), "exp": get_current_timestamp() + 600 })
}

fn signed(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, key).unwrap()
}

async fn with_token(server: &Server, token: &str) -> Reply {
    server.stranger().with_token(token).get(ACTIVE).await
}

#[track_caller]
fn assert_refused(reply: &Reply, why: &str) {
    assert_eq!(reply.status, 401, "{why}: {reply:?}");
    reply.problem(401);
    assert!(reply.header("www-authenticate").starts_with("Bearer"), "{why}");
}

#[tokio::test]
async fn a_token_needs_this_server_s_signature_a_future_exp_and_a_reader() {
    let server = Server::start().await;
    let key = EncodingKey::from_secret(&server.key());
    let token = |claims: &Value| signed(Algorithm::HS256, &key, claims);
    with_token(&server, &token(&claims())).await.expect(200);

    let now = get_current_timestamp();
    let sub = Uuid::new_v4();
    for (wrong, why) in [
        (json!({ "sub": sub, "exp": now - 1 }), "expired"),
        (json!({ "sub": sub, "exp": 0 }), "expired long ago"),
        (json!({ "sub": sub }), "no exp"),
        (json!({ "sub": sub, "exp": "soon" }), "exp is no number"),
        (json!({ "sub": sub, "exp": now + 600, "nbf": now + 300 }), "not yet valid"),
        (json!({ "sub": sub, "exp": now + 600, "iat": now + 300 }), "made in the future"),
        (json!({ "exp": now + 600 }), "no sub"),
        (json!({ "sub": null, "exp": now + 600 }), "sub is null"),
        (json!({ "sub": 5, "exp": now + 600 }), "sub is a number"),
        (json!({ "sub": "", "exp": now + 600 }), "sub is empty"),
        (json!({ "sub": "boss", "exp": now + 600 }), "sub is no UUID"),
        (json!({ "sub": "456e7890-e12b-34c5-d678-90123456789", "exp": now + 600 }), "sub is too short"),
        (json!({ "sub": sub, "exp": now + 600, "roles": "admin" }), "roles are no list"),
    ] {
        assert_refused(&with_token(&server, &token(&wrong)).await, why);
    }

    // The clock of whoever makes tokens may be a little ahead.
    for claim in ["nbf", "iat"] {
        let ahead = token(&json!({ "sub": sub, "exp": now + 600, claim: now + 20 }));
        with_token(&server, &ahead).await.expect(200);
    }

    let good = token(&claims());
    let (head, signature) = good.rsplit_once('.').unwrap();
    let other_key = EncodingKey::from_secret(b"a secret of more than thirty-two bytes");
    for (wrong, why) in [
        (signed(Algorithm::HS256, &other_key, &claims()), "another key"),
        (signed(Algorithm::HS512, &key, &claims()), "another algorithm of the same key"),
        (signed(Algorithm::HS384, &key, &claims()), "another algorithm of the same key"),
        (head.to_owned(), "no signature"),
        (format!("{head}."), "an empty signature"),
        (format!("{head}.{}", signature.chars().rev().collect::<String>()), "a wrong signature"),
        ("nonsense".to_owned(), "nonsense"),
        (String::new(), "nothing"),
        ("x".repeat(20_000), "a very long token"),
    ] {
        assert_refused(&with_token(&server, &wrong).await, why);
    }
    for wrong in ["Basic dTpw", "Bearer", "bearer", good.as_str(), "Token x"] {
        assert_refused(&server.stranger().with("authorization", wrong).get(ACTIVE).await, wrong);
    }
    server.stranger().with("authorization", &format!("bearer {good}")).get(ACTIVE).await.expect(200);
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused_however_none_is_spelled() {
    let server = Server::start().await;
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signature = URL_SAFE_NO_PAD.encode("x");
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let unsigned = format!("{}.{}", part(json!({ "alg": none, "typ": "JWT" })), part(claims()));
        for token in [format!("{unsigned}."), format!("{unsigned}.{signature}"), unsigned] {
            assert_refused(&with_token(&server, &token).await, none);
        }
    }
}

#[tokio::test]
async fn a_public_key_verifies_its_own_algorithm_and_is_no_shared_secret() {
    let pem =
        |label: &str, der: &[u8]| format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der));
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'static> = key.as_der().unwrap();
    let public: PublicKeyX509Der<'static> = key.public_key().as_der().unwrap();
    let public_pem = pem("PUBLIC KEY", public.as_ref());
    let signing = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes()).unwrap();

    let place = Place::fresh();
    let file = place.file("public.pem", &public_pem);
    let server = place.serve(&["--jwt-public-key-file", file.to_str().unwrap()]).await;
    with_token(&server, &signed(Algorithm::RS256, &signing, &claims())).await.expect(200);
    server.reader().get(ACTIVE).await.expect(200);

    for secret in [public_pem.as_bytes(), public_pem.trim().as_bytes(), public.as_ref(), key.public_key().as_ref()] {
        let confused = signed(Algorithm::HS256, &EncodingKey::from_secret(secret), &claims());
        assert_refused(&with_token(&server, &confused).await, "the public key as a secret");
    }
    assert_refused(&with_token(&server, &signed(Algorithm::RS512, &signing, &claims())).await, "RS512");
    let only_shared = Server::start().await;
    let token = signed(Algorithm::RS256, &signing, &claims());
    assert_refused(&with_token(&only_shared, &token).await, "no public key is configured");
}

#[tokio::test]
async fn issuer_and_audience_are_checked_when_configured() {
    let server = Server::start_with(&["--jwt-issuer", "https://id.example", "--jwt-audience", "daybook"]).await;
    let key = EncodingKey::from_secret(&server.key());
    let with = |issuer: Value, audience: Value| {
        let mut claims = claims();
        claims["iss"] = issuer;
        claims["aud"] = audience;
        signed(Algorithm::HS256, &key, &claims)
    };
    with_token(&server, &with(json!("https://id.example"), json!("daybook"))).await.expect(200);
    with_token(&server, &with(json!("https://id.example"), json!(["other", "daybook"]))).await.expect(200);
    assert_refused(&with_token(&server, &with(json!("https://evil.example"), json!("daybook"))).await, "issuer");
    assert_refused(&with_token(&server, &with(json!("https://id.example"), json!("other"))).await, "audience");
    assert_refused(&with_token(&server, &signed(Algorithm::HS256, &key, &claims())).await, "neither");
}

#[tokio::test]
async fn daybook_token_prints_a_token_that_works() {
    let place = Place::fresh();
    let sub = Uuid::new_v4().to_string();
    let token = |args: &[&str]| {
        let output = place.run(&[&["token", "--sub", &sub], args].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    // The first start makes the key.
    let server = place.serve(&[]).await;
    let plain = token(&[]);
    let admin = token(&["--role", "admin", "--project", "1", "--ttl", "5m"]);
    with_token(&server, &plain).await.expect(200);
    let shared = json!({ "title": "t", "shared": true });
    let path = format!("/api/v1/books/{}", Uuid::new_v4());
    server.stranger().with_token(&plain).put(&path, &shared).await.problem(403);
    server.stranger().with_token(&admin).put(&path, &shared).await.expect(201);
    // With a database no key is made: all nodes share one that is given.
    if place.database().is_none() {
        let made = place.data().join("jwt.key").metadata().unwrap().permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&made) & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_reader_is_one_caller_however_a_token_spells_the_id() {
    let server = Server::start_with(&["--rate-limit", "20"]).await;
    let id = Uuid::from_u128(0xabcd_ef01_2345_4678_9abc_def0_1234_5678);
    let spelled = |sub: String| server.caller_claiming(id, &json!({ "sub": sub }));
    let lower = spelled(id.to_string());
    let others =
        [id.to_string().to_uppercase(), id.simple().to_string(), id.urn().to_string(), id.braced().to_string()];
    let book = lower.add_book().await;
    let start = |caller: &Caller| {
        let caller = caller.with("idempotency-key", "k");
        async move { caller.post("/api/v1/reading-sessions/start", &json!({ "book_id": book })).await }
    };
    let first = start(&lower).await;
    first.expect(201);
    for sub in &others {
        assert_eq!(start(&spelled(sub.clone())).await.text, first.text, "{sub}");
    }
    let path = format!("/api/v1/books/{}", book.to_string().to_uppercase());
    spelled(others[0].clone()).put(&path, &json!({ "title": "t" })).await.expect(200);
    for event in server.place().events() {
        assert_eq!(event.metadata["actor"], json!(id), "{event:?}");
    }
    let mut statuses = BTreeSet::new();
    for caller in others.iter().cycle().take(200) {
        statuses.insert(spelled(caller.clone()).get("/api/v1/reading-sessions/active").await.status);
    }
    assert_eq!(statuses, BTreeSet::from([200, 429]));
    // All spellings have used up the same requests.
    let refused = (0..10).map(|_| lower.get("/api/v1/reading-sessions/active"));
    let refused = futures::future::join_all(refused).await;
    assert!(refused.iter().any(|reply| reply.status == 429));
}
