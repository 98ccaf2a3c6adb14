//! The ledger: where the stock of an article comes from, at any time.

pub mod alerts;
pub mod movements;
pub mod reconcile;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use daybook_domain::shop::{ArticleId, ShopId};
use daybook_projections::ReadModelsError;
use daybook_projections::shop::ledger::{self, Basis};
use daybook_projections::shop::register;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::auth::{Caller, Role};
use crate::http::fields::{FieldValue, Fields};
use crate::http::openapi::{Forbidden, ReadProblems};
use crate::http::read::{After, Query};
use crate::http::unread::{log_unread, models_unread};
use crate::http::{Problem, instant};

const READERS: [Role; 3] = [Role::Auditor, Role::Staff, Role::Admin];
const LIMIT_MAX: i64 = 1_000;
const LIMIT_DEFAULT: i64 = 100;

/// Whole numbers in the path, in its order.
pub struct Ids<const N: usize>([i64; N]);

impl<S: Send + Sync, const N: usize> FromRequestParts<S> for Ids<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let parameters = Path::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let parameters = parameters.map(|Path(all)| all).unwrap_or_default();
        let mut ids = [0; N];
        for (id, (name, text)) in ids.iter_mut().zip(parameters) {
            *id = i64::from_text(&text).map_err(|message| Problem::bad_field(name, message))?;
        }
        Ok(Self(ids))
    }
}

/// How much of a list, and from where.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; the handlers read it")]
pub struct ListQuery {
    /// A `next`: goes on there.
    after: Option<String>,
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// The moment asked about.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; `moment` reads it")]
pub struct MomentQuery {
    /// The stock at this moment instead of now.
    as_of: Option<DateTime<Utc>>,
    #[param(inline)]
    basis: Option<BasisName>,
}

/// `as_of` and `basis` of a query.
fn moment(fields: &mut Fields<'_>) -> Option<(DateTime<Utc>, Basis)> {
    let as_of = fields.optional("as_of");
    let basis = fields.optional::<BasisField>("basis").map_or(Basis::Recorded, |BasisField(basis)| basis);
    as_of.map(|at| (at, basis))
}

/// A shop's stock.
#[derive(Serialize, ToSchema)]
pub struct Stocks {
    /// By article.
    items: Vec<StockItem>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    next: Option<String>,
}

/// An article and its stock.
#[derive(Serialize, ToSchema)]
pub struct StockItem {
    article_id: i64,
    name: String,
    stock: i64,
    /// At or under the shop's threshold.
    low: bool,
    /// Null when it never moved; with `as_of` that of the last movement that counts, by the same basis.
    #[serde(with = "instant::option")]
    #[schema(required)]
    updated_at: Option<DateTime<Utc>>,
}

/// A shop's stock, now or at a moment
///
/// With `as_of` and `basis=occurred` a page may hold fewer articles than its limit: go on as long as there is a `next`.
#[utoipa::path(
    get,
    path = "/api/v1/shops/{shop}/stock",
    tag = "Ledger",
    params(("shop" = i64, Path), ListQuery, MomentQuery),
    responses((status = 200, description = "A page of articles", body = Stocks), ReadProblems, Forbidden)
)]
pub async fn stocks(
    State(app): State<App>,
    Ids([shop_id]): Ids<1>,
    After(after_position): After,
    caller: Caller,
    Query(query): Query,
) -> Result<Json<Stocks>, Problem> {
    caller.must_be(&READERS)?;
    let mut fields = Fields::from_query(&query);
    let after = fields.optional_integer("after", 0..=i64::MAX).unwrap_or(0);
    let limit = limit(&mut fields);
    let moment = moment(&mut fields);
    fields.finish()?;
    app.caught_up(&[ledger::NAME, register::NAME], after_position).await?;
    let shop = shop(&app, shop_id).await?;
    let (rows, next) = match moment {
        Some((at, Basis::Occurred)) => {
            ledger::stocks_occurred_by(&app.models, shop_id, after, limit, at).await.map_err(failed)?
        }
        moment => {
            let rows = match moment {
                None => ledger::stocks(&app.models, shop_id, after, limit + 1).await,
                Some((at, _)) => {
                    let until = app.recorded_by(at).await.map_err(log_unread)?;
                    ledger::stocks_up_to(&app.models, shop_id, after, limit + 1, until).await
                }
            };
            let mut rows = rows.map_err(failed)?;
            let next = cut(&mut rows, limit, |row| row.article_id);
            (rows, next)
        }
    };
    let item = |row: ledger::StockRow| StockItem {
        article_id: row.article_id,
        name: row.name,
        stock: row.stock,
        low: row.stock <= shop.low_stock_threshold,
        updated_at: row.updated_at,
    };
    let next = next.map(|article: ArticleId| article.to_string());
    Ok(Json(Stocks { items: rows.into_iter().map(item).collect(), next }))
}

/// Which time counts: when the log took a movement, or when it happened.
#[derive(ToSchema)]
#[schema(as = Basis, rename_all = "lowercase")]
#[expect(dead_code, reason = "the document's name for the ledger's Basis")]
pub enum BasisName {
    Recorded,
    Occurred,
}

/// An article's stock.
#[derive(Serialize, ToSchema)]
pub struct Stock {
    shop_id: i64,
    article_id: i64,
    name: String,
    stock: i64,
    /// Of the last movement that counts in it; 0 when there is none.
    position: i64,
}

/// An article's stock, now or at a moment
#[utoipa::path(
    get,
    path = "/api/v1/shops/{shop}/stock/{article}",
    tag = "Ledger",
    params(("shop" = i64, Path), ("article" = i64, Path), MomentQuery),
    responses((status = 200, description = "The stock", body = Stock), ReadProblems, Forbidden)
)]
pub async fn stock(
    State(app): State<App>,
    Ids([shop_id, article_id]): Ids<2>,
    After(after): After,
    caller: Caller,
    Query(query): Query,
) -> Result<Json<Stock>, Problem> {
    caller.must_be(&READERS)?;
    let mut fields = Fields::from_query(&query);
    let moment = moment(&mut fields);
    fields.finish()?;
    app.caught_up(&[ledger::NAME, register::NAME], after).await?;
    let article = article(&app, shop_id, article_id).await?;
    let (stock, position) = match moment {
        Some((at, Basis::Occurred)) => ledger::stock_occurred_by(&app.models, shop_id, article_id, at).await,
        Some((at, Basis::Recorded)) => {
            ledger::stock_up_to(&app.models, shop_id, article_id, app.recorded_by(at).await.map_err(log_unread)?).await
        }
        None => ledger::stock(&app.models, shop_id, article_id).await,
    }
    .map_err(failed)?;
    Ok(Json(Stock { shop_id, article_id, name: article.name, stock, position }))
}

async fn shop(app: &App, id: ShopId) -> Result<register::ShopRow, Problem> {
    let shop = register::shop(&app.models, id).await.map_err(failed)?;
    shop.ok_or_else(|| Problem::not_found("There is no such shop."))
}

async fn article(app: &App, shop_id: ShopId, id: ArticleId) -> Result<register::ArticleRow, Problem> {
    let article = register::article(&app.models, shop_id, id).await.map_err(failed)?;
    article.ok_or_else(|| Problem::not_found("The shop has no such article."))
}

fn failed(error: ReadModelsError) -> Problem {
    models_unread(error)
}

fn limit(fields: &mut Fields<'_>) -> u32 {
    let limit = fields.optional_integer("limit", 1..=LIMIT_MAX).unwrap_or(LIMIT_DEFAULT);
    u32::try_from(limit).unwrap_or(1)
}

/// Leaves `limit` rows; where the next page begins, when there is one.
fn cut<T, P>(rows: &mut Vec<T>, limit: u32, place: impl Fn(&T) -> P) -> Option<P> {
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    rows.last().filter(|_| more).map(place)
}

struct BasisField(Basis);

impl FieldValue for BasisField {
    fn placeholder() -> Self {
        Self(Basis::Recorded)
    }

    fn from_json(value: &serde_json::Value) -> Result<Self, String> {
        Self::from_text(value.as_str().unwrap_or_default())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "recorded" => Ok(Self(Basis::Recorded)),
            "occurred" => Ok(Self(Basis::Occurred)),
            _ => Err("must be recorded or occurred".to_owned()),
        }
    }
}
