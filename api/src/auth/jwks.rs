//! Keys from a key set on the network: cached, fetched again for an unknown key id, and bounded in every direction.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use error_reporter::Report;
use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::Jwk;
use reqwest::{Client, Url, redirect};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::key::VerifyingKey;
use super::{AuthError, KeyError};
use crate::settings::masked_url;

const FETCH_TIME_MAX: Duration = Duration::from_secs(5);
const FETCH_INTERVAL_MIN: Duration = Duration::from_secs(10);
const BODY_BYTES_MAX: usize = 256 * 1024;
const KEYS_MAX: usize = 100;
/// A token without a key id is tried against that many keys of its algorithm.
const TRIES_WITHOUT_KID_MAX: usize = 4;
/// So that a key that was taken out of the set stops working although nobody asks for an unknown one.
const AGE_MAX: Duration = Duration::from_secs(15 * 60);

/// A key set and the way to it.
pub(super) struct KeySet {
    url: Url,
    client: Client,
    cached: RwLock<Cached>,
    // Holds the time of the last attempt; whoever holds the lock is the one that fetches.
    attempt: Mutex<Option<Instant>>,
}

#[derive(Clone, Default)]
struct Cached {
    keys: Arc<[(Option<String>, VerifyingKey)]>,
    fetched_at: Option<Instant>,
}

#[derive(Deserialize)]
struct Document {
    // Key by key, so that one key of an unknown kind does not spoil the others.
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    pub(super) fn new(url: Url) -> Result<Self, KeyError> {
        let client = Client::builder()
            .timeout(FETCH_TIME_MAX)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| KeyError::KeySet { url: masked_url(url.as_str()), problem: told(error) })?;
        Ok(Self { url, client, cached: RwLock::default(), attempt: Mutex::new(None) })
    }

    /// Keys that may have signed a token of this key id and algorithm; never empty.
    pub(super) async fn candidates(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<VerifyingKey>, AuthError> {
        let cached = self.cached();
        let found = cached.matching(kid, algorithm);
        if found.is_empty() {
            self.refresh(|now| now.matching(kid, algorithm).is_empty(), true).await;
        } else if cached.is_old() {
            self.refresh(Cached::is_old, false).await;
        } else {
            return Ok(found);
        }
        let cached = self.cached();
        match cached.matching(kid, algorithm) {
            found if !found.is_empty() => Ok(found),
            _ if cached.fetched_at.is_none() => Err(AuthError::KeysUnavailable),
            _ => Err(AuthError::UnknownKey),
        }
    }

    /// Fetches once, for a check at the start.
    pub(super) async fn check(&self) -> Result<(), KeyError> {
        let mut attempt = self.attempt.lock().await;
        *attempt = Some(Instant::now());
        self.fetch().await
    }

    #[cfg(test)]
    pub(super) async fn forget_attempt(&self) {
        *self.attempt.lock().await = None;
    }

    // Single flight: `wait` queues behind a fetch in flight and looks again, the others go on with what they have.
    async fn refresh(&self, still_needed: impl Fn(&Cached) -> bool, wait: bool) {
        let mut attempt = match self.attempt.try_lock() {
            Ok(attempt) => attempt,
            Err(_) if wait => self.attempt.lock().await,
            Err(_) => return,
        };
        let too_soon = attempt.is_some_and(|at| at.elapsed() < FETCH_INTERVAL_MIN);
        if too_soon || !still_needed(&self.cached()) {
            return;
        }
        *attempt = Some(Instant::now());
        if let Err(error) = self.fetch().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the keys fetched before are kept");
        }
    }

    async fn fetch(&self) -> Result<(), KeyError> {
        let failed = |problem: String| KeyError::KeySet { url: masked_url(self.url.as_str()), problem };
        let mut response = self.client.get(self.url.clone()).send().await.map_err(|error| failed(told(error)))?;
        if !response.status().is_success() {
            return Err(failed(format!("it answers {}", response.status())));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(told(error)))? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(failed(format!("it is larger than {BODY_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        let document: Document =
            serde_json::from_slice(&body).map_err(|_| failed("it is no JSON object with a list of keys".to_owned()))?;
        let keys = document
            .keys
            .into_iter()
            .filter_map(|key| serde_json::from_value::<Jwk>(key).ok())
            .filter_map(|jwk| VerifyingKey::from_jwk(&jwk).map(|key| (jwk.common.key_id, key)))
            .take(KEYS_MAX)
            .collect();
        let fresh = Cached { keys, fetched_at: Some(Instant::now()) };
        *self.cached.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    fn cached(&self) -> Cached {
        self.cached.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Cached {
    fn matching(&self, kid: Option<&str>, algorithm: Algorithm) -> Vec<VerifyingKey> {
        self.keys
            .iter()
            .filter(|(id, key)| key.algorithm == algorithm && (kid.is_none() || id.as_deref() == kid))
            .take(TRIES_WITHOUT_KID_MAX)
            .map(|(_, key)| key.clone())
            .collect()
    }

    fn is_old(&self) -> bool {
        self.fetched_at.is_none_or(|at| at.elapsed() > AGE_MAX)
    }
}

/// What went wrong, without the URL, which may hold a secret.
fn told(error: reqwest::Error) -> String {
    Report::new(&error.without_url()).to_string()
}
