//! What a terminal may sell.

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use daybook_projections::shop::{ledger, register, sales};
use serde::Serialize;
use utoipa::ToSchema;

use super::refusal::{ReadRefusals, Refusal};
use super::terminal::Terminal;
use crate::app::App;
use crate::http::Problem;
use crate::http::read::After;

/// What a terminal may sell.
#[derive(Serialize, ToSchema)]
pub struct Catalogue {
    success: bool,
    boutique_id: i64,
    /// By id.
    articles: Vec<Article>,
}

/// An article on sale.
#[derive(Serialize, ToSchema)]
#[schema(as = ArticleEnVente)]
pub struct Article {
    id: i64,
    nom: String,
    #[schema(required)]
    code: Option<String>,
    #[schema(required)]
    categorie: Option<String>,
    #[schema(example = "40000.00")]
    prix_vente: String,
    quantite_stock: i64,
}

impl From<register::ArticleRow> for Article {
    fn from(article: register::ArticleRow) -> Self {
        Self {
            id: article.id,
            nom: article.name,
            code: article.code,
            categorie: article.category,
            prix_vente: sales::decimal(article.price),
            quantite_stock: article.stock,
        }
    }
}

/// What the terminal may sell
#[utoipa::path(
    get,
    path = "/api/v2/simple/articles",
    tag = "Tills",
    security(("terminal" = [])),
    params(("If-None-Match" = Option<String>, Header, description = "The ETag of an earlier answer")),
    responses(
        (status = 200, description = "The articles", body = Catalogue, headers(("ETag" = String, description = "Names this answer"))),
        (status = 304, description = "Nothing has changed since"),
        ReadRefusals
    )
)]
pub async fn articles(
    State(app): State<App>,
    terminal: Terminal,
    After(after): After,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    app.caught_up(&[register::NAME, ledger::NAME], after).await?;
    let articles = register::articles_on_sale(&app.models, terminal.shop_id).await?;
    let articles = articles.into_iter().map(Article::from).collect();
    let body = serde_json::to_vec(&Catalogue { success: true, boutique_id: terminal.shop_id, articles })
        .map_err(|error| Problem::internal(&error))?;
    let etag = etag(&body);
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| names(known.as_bytes(), &etag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let json = (header::CONTENT_TYPE, "application/json".to_owned());
    Ok(([json, (header::ETAG, etag)], body).into_response())
}

/// The same for the same body.
fn etag(body: &[u8]) -> String {
    let digest = digest(&SHA256, body);
    let hex: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// Whether `If-None-Match` names `etag`; a weak name counts as well.
fn names(known: &[u8], etag: &str) -> bool {
    let known = std::str::from_utf8(known).unwrap_or_default();
    known.split(',').map(str::trim).any(|name| name == "*" || name.strip_prefix("W/").unwrap_or(name) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_recognised_among_others() {
        let etag = etag(b"{}");
        assert!(names(etag.as_bytes(), &etag));
        assert!(names(format!("\"x\", W/{etag}").as_bytes(), &etag));
        assert!(names(b"*", &etag));
        assert!(!names(b"\"x\"", &etag));
        assert_ne!(etag, super::etag(b"[]"));
    }
}
