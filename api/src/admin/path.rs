//! What the paths name. Who may not administer learns nothing about it.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use daybook_domain::shop::ShopId;

use super::author::Admin;
use super::values::Id;
use crate::http::Problem;
use crate::http::fields::FieldValue as _;

/// `…/shops/{id}…`
pub struct ShopPath(pub ShopId);

/// `…/shops/{id}/…/{number}`: something of a shop that has a number.
pub struct NumberPath(pub ShopId, pub i64);

/// `…/shops/{id}/terminals/{serial}`
pub struct TerminalPath(pub ShopId, pub String);

impl<S: Send + Sync> FromRequestParts<S> for ShopPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let [shop] = parameters(parts, state).await?;
        Ok(Self(id(shop)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NumberPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let [shop, number] = parameters(parts, state).await?;
        Ok(Self(id(shop)?, id(number)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for TerminalPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let [shop, (_, serial)] = parameters(parts, state).await?;
        Ok(Self(id(shop)?, serial))
    }
}

type Parameter = (String, String);

async fn parameters<S: Send + Sync, const N: usize>(parts: &mut Parts, state: &S) -> Result<[Parameter; N], Problem> {
    Admin::from_request_parts(parts, state).await?;
    let parameters = Path::<Vec<Parameter>>::from_request_parts(parts, state).await;
    let parameters = parameters.ok().and_then(|Path(all)| all.try_into().ok());
    parameters.ok_or_else(|| Problem::bad_field("path", "must be UTF-8"))
}

fn id((name, text): Parameter) -> Result<i64, Problem> {
    Id::from_text(&text).map(Id::get).map_err(|message| Problem::bad_field(name, message))
}
