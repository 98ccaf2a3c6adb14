//! Copies of long streams' states, as they are kept in the log's store.

use serde::{Serialize, de::DeserializeOwned};

/// How states of one kind are encoded and decoded.
pub(super) struct Snapshots<S> {
    pub(super) shape: &'static str,
    pub(super) encode: fn(&S) -> Option<Vec<u8>>,
    pub(super) decode: fn(&[u8]) -> Option<S>,
}

impl<S> Clone for Snapshots<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Snapshots<S> {}

impl<S: Serialize + DeserializeOwned> Snapshots<S> {
    pub(super) fn new(shape: &'static str) -> Self {
        let encode = |state: &S| serde_json::to_vec(state).ok();
        let decode = |bytes: &[u8]| serde_json::from_slice(bytes).ok();
        Self { shape, encode, decode }
    }
}
