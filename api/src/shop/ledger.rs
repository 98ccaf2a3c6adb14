//! The ledger: where the stock of an article comes from, at any time.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use daybook_domain::event::Event;
use daybook_domain::shop::{ArticleId, ShopEvent, ShopId};
use daybook_eventlog::{EventRef, Filter, Position};
use daybook_projections::ReadModelsError;
use daybook_projections::shop::ledger::{self, Basis, MovementFilter};
use daybook_projections::shop::register;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::terminal::stream;
use crate::app::App;
use crate::auth::{Caller, Role};
use crate::http::fields::{FieldValue, Fields};
use crate::http::openapi::{Forbidden, ReadProblems};
use crate::http::read::{After, Query};
use crate::http::{Problem, instant};

const READERS: [Role; 3] = [Role::Auditor, Role::Staff, Role::Admin];
const LIMIT_MAX: i64 = 1_000;
const LIMIT_DEFAULT: i64 = 100;
/// Events of the log looked at in one go when balances are recomputed.
const RECONCILE_PAGE_EVENTS: usize = 10_000;

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
    /// Null when it never moved.
    #[serde(with = "instant::option")]
    #[schema(required)]
    updated_at: Option<DateTime<Utc>>,
}

/// A shop's stock
#[utoipa::path(
    get,
    path = "/api/v1/shops/{shop}/stock",
    tag = "Ledger",
    params(("shop" = i64, Path), ListQuery),
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
    fields.finish()?;
    app.caught_up(&[ledger::NAME, register::NAME], after_position).await?;
    let shop = shop(&app, shop_id).await?;
    let mut rows = ledger::stocks(&app.models, shop_id, after, limit + 1).await.map_err(failed)?;
    let next = cut(&mut rows, limit, |row| row.article_id.to_string());
    let item = |row: ledger::StockRow| StockItem {
        article_id: row.article_id,
        name: row.name,
        stock: row.stock,
        low: row.stock <= shop.low_stock_threshold,
        updated_at: row.updated_at,
    };
    Ok(Json(Stocks { items: rows.into_iter().map(item).collect(), next }))
}

/// The moment asked about.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; `stock` reads it")]
pub struct StockQuery {
    /// The stock at this moment instead of now.
    as_of: Option<DateTime<Utc>>,
    #[param(inline)]
    basis: Option<BasisName>,
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
    params(("shop" = i64, Path), ("article" = i64, Path), StockQuery),
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
    let as_of: Option<DateTime<Utc>> = fields.optional("as_of");
    let basis = fields.optional::<BasisField>("basis").map_or(Basis::Recorded, |BasisField(basis)| basis);
    fields.finish()?;
    app.caught_up(&[ledger::NAME, register::NAME], after).await?;
    let article = article(&app, shop_id, article_id).await?;
    let (stock, position) = match as_of {
        None => ledger::stock(&app.models, shop_id, article_id).await,
        Some(at) => ledger::stock_as_of(&app.models, shop_id, article_id, basis, at).await,
    }
    .map_err(failed)?;
    Ok(Json(Stock { shop_id, article_id, name: article.name, stock, position }))
}

/// Which movements are shown.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; `movements` reads it")]
pub struct MovementsQuery {
    /// Not before.
    from: Option<DateTime<Utc>>,
    /// Before.
    to: Option<DateTime<Utc>>,
    #[param(inline)]
    basis: Option<BasisName>,
    #[param(inline)]
    r#type: Option<MovementType>,
    /// A `next`: goes on there.
    after: Option<String>,
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// What moved the stock.
#[derive(ToSchema)]
#[schema(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(dead_code, reason = "the document's list of types")]
pub enum MovementType {
    Receipt,
    Vente,
    Retour,
    Adjustment,
    TransferOut,
    TransferIn,
}

/// An article's movements.
#[derive(Serialize, ToSchema)]
pub struct Movements {
    /// In the order of the log.
    items: Vec<Movement>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    next: Option<String>,
}

/// A change of stock.
#[derive(Serialize, ToSchema)]
pub struct Movement {
    /// Of its event in the log.
    position: i64,
    event_id: Uuid,
    shop_id: i64,
    article_id: i64,
    #[schema(value_type = MovementType)]
    r#type: String,
    delta: i64,
    stock_before: i64,
    stock_after: i64,
    /// An invoice number, a delivery note …
    document: String,
    /// Place in the document, from 1.
    line: i64,
    /// The terminal that caused it.
    #[schema(required)]
    terminal: Option<String>,
    /// The user who caused it.
    #[schema(required)]
    user: Option<String>,
    #[serde(with = "instant")]
    occurred_at: DateTime<Utc>,
    #[serde(with = "instant")]
    recorded_at: DateTime<Utc>,
    #[schema(required)]
    reason: Option<String>,
    /// The position of the movement that it takes back.
    #[schema(required)]
    reversal_of: Option<i64>,
    /// Of a TRANSFER_OUT.
    #[serde(skip_serializing_if = "Option::is_none")]
    to_shop: Option<i64>,
    /// Of a TRANSFER_IN.
    #[serde(skip_serializing_if = "Option::is_none")]
    from_shop: Option<i64>,
}

impl From<ledger::Movement> for Movement {
    fn from(row: ledger::Movement) -> Self {
        let incoming = row.kind == "TRANSFER_IN";
        Self {
            position: row.position,
            event_id: row.event_id,
            shop_id: row.shop_id,
            article_id: row.article_id,
            r#type: row.kind,
            delta: row.delta,
            stock_before: row.stock_before,
            stock_after: row.stock_after,
            document: row.document,
            line: row.line,
            terminal: row.terminal,
            user: row.user,
            occurred_at: row.occurred_at,
            recorded_at: row.recorded_at,
            reason: row.reason,
            reversal_of: row.reversal_of,
            to_shop: row.other_shop.filter(|_| !incoming),
            from_shop: row.other_shop.filter(|_| incoming),
        }
    }
}

/// An article's movements
#[utoipa::path(
    get,
    path = "/api/v1/shops/{shop}/stock/{article}/movements",
    tag = "Ledger",
    params(("shop" = i64, Path), ("article" = i64, Path), MovementsQuery),
    responses((status = 200, description = "A page of movements", body = Movements), ReadProblems, Forbidden)
)]
pub async fn movements(
    State(app): State<App>,
    Ids([shop_id, article_id]): Ids<2>,
    After(after_position): After,
    caller: Caller,
    Query(query): Query,
) -> Result<Json<Movements>, Problem> {
    caller.must_be(&READERS)?;
    let mut fields = Fields::from_query(&query);
    let basis = fields.optional::<BasisField>("basis").map_or(Basis::Recorded, |BasisField(basis)| basis);
    let kind = fields.optional::<TypeField>("type").map(|TypeField(kind)| kind.to_owned());
    let after = fields.optional::<LinePlace>("after").map(|LinePlace(position, line)| (position, line));
    let filter = MovementFilter { from: fields.optional("from"), to: fields.optional("to"), kind, after };
    let limit = limit(&mut fields);
    fields.finish()?;
    app.caught_up(&[ledger::NAME, register::NAME], after_position).await?;
    article(&app, shop_id, article_id).await?;
    let mut rows =
        ledger::movements(&app.models, shop_id, article_id, basis, &filter, limit + 1).await.map_err(failed)?;
    let next = cut(&mut rows, limit, |row| format!("{}-{}", row.position, row.line));
    Ok(Json(Movements { items: rows.into_iter().map(Movement::from).collect(), next }))
}

/// What recomputing the balances found.
#[derive(Serialize, ToSchema)]
pub struct Reconciliation {
    /// Articles looked at.
    checked: usize,
    /// Where the ledger and the log differ; empty when all is well.
    differences: Vec<Difference>,
}

/// An article whose balance is wrong.
#[derive(Serialize, ToSchema)]
pub struct Difference {
    article_id: i64,
    /// What the log's events add up to.
    log: i64,
    /// What the ledger's movements add up to.
    movements: i64,
    /// The stock that the ledger shows.
    stock: i64,
}

/// Recompute each balance from the log
#[utoipa::path(
    get,
    path = "/api/v1/shops/{shop}/stock/reconcile",
    tag = "Ledger",
    params(("shop" = i64, Path)),
    responses((status = 200, description = "What differs", body = Reconciliation), ReadProblems, Forbidden)
)]
pub async fn reconcile(
    State(app): State<App>,
    Ids([shop_id]): Ids<1>,
    After(after): After,
    caller: Caller,
) -> Result<Json<Reconciliation>, Problem> {
    caller.must_be(&READERS)?;
    app.caught_up(&[ledger::NAME, register::NAME], after).await?;
    shop(&app, shop_id).await?;
    // Both sides are added up to the same position, so that sales meanwhile do not count as differences.
    let until = app.log.head();
    app.reached(&[ledger::NAME], until).await?;
    let mut log = balances_in_log(&app, shop_id, until).await?;
    let mut ledger = ledger::balances(&app.models, shop_id, until.get()).await.map_err(failed)?;
    for article in log.keys().copied().collect::<Vec<_>>() {
        ledger.entry(article).or_insert((0, 0));
    }
    let checked = ledger.len();
    let differences = ledger
        .into_iter()
        .map(|(article_id, (movements, stock))| {
            let log = log.remove(&article_id).unwrap_or(0);
            Difference { article_id, log, movements, stock }
        })
        .filter(|found| found.log != found.movements || found.log != found.stock)
        .collect();
    Ok(Json(Reconciliation { checked, differences }))
}

async fn balances_in_log(app: &App, shop_id: ShopId, until: Position) -> Result<BTreeMap<ArticleId, i64>, Problem> {
    let filter = Filter { stream: Some(stream(shop_id)), ..Filter::default() };
    let mut balances = BTreeMap::new();
    let mut after = Position::START;
    while after < until {
        let deltas = |event: &EventRef<'_>| {
            let decoded = Event::decode(event.event_type, event.schema_version, event.data.as_bytes());
            (event.position, decoded.map(|decoded| decoded.map(|event| deltas(&event)).unwrap_or_default()))
        };
        let page = app.log.read_all_with(after, RECONCILE_PAGE_EVENTS, &filter, deltas).await;
        let page = page.map_err(|error| Problem::internal(&error))?;
        for (position, deltas) in page.events {
            if position > until {
                break;
            }
            for (article, delta) in deltas.map_err(|error| Problem::internal(&error))? {
                *balances.entry(article).or_insert(0) += delta;
            }
        }
        after = page.next_after;
    }
    Ok(balances)
}

fn deltas(event: &Event) -> Vec<(ArticleId, i64)> {
    let Event::Shop(event) = event else { return Vec::new() };
    match event {
        ShopEvent::StockReceived(e) => e.lines.iter().map(|line| (line.article_id, line.quantity)).collect(),
        ShopEvent::StockAdjusted(e) => e.lines.iter().map(|line| (line.article_id, line.delta)).collect(),
        ShopEvent::StockTransferredOut(e) => e.lines.iter().map(|line| (line.article_id, -line.quantity)).collect(),
        ShopEvent::StockTransferredIn(e) => e.lines.iter().map(|line| (line.article_id, line.quantity)).collect(),
        ShopEvent::SaleRecorded(e) => e.lines.iter().map(|line| (line.article_id, -line.quantite)).collect(),
        ShopEvent::SaleCancelled(e) => e.lines.iter().map(|line| (line.article_id, line.quantite)).collect(),
        ShopEvent::ShopOpened(_)
        | ShopEvent::ShopChanged(_)
        | ShopEvent::TerminalRegistered(_)
        | ShopEvent::TerminalChanged(_)
        | ShopEvent::ArticleAdded(_)
        | ShopEvent::ArticleChanged(_) => Vec::new(),
    }
}

/// Crossings into low or negative stock.
#[derive(Serialize, ToSchema)]
pub struct Alerts {
    /// Oldest first.
    items: Vec<AlertItem>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    next: Option<String>,
}

/// A crossing into low or negative stock.
#[derive(Serialize, ToSchema)]
pub struct AlertItem {
    article_id: i64,
    /// `low` or `negative`
    #[schema(example = "low")]
    kind: String,
    /// After the movement.
    stock: i64,
    /// What was crossed.
    threshold: i64,
    /// When it was recorded.
    #[serde(with = "instant")]
    at: DateTime<Utc>,
    /// Of the event that caused it.
    position: i64,
}

/// Crossings into low or negative stock
#[utoipa::path(
    get,
    path = "/api/v1/shops/{shop}/alerts",
    tag = "Ledger",
    params(("shop" = i64, Path), ListQuery),
    responses((status = 200, description = "A page of alerts", body = Alerts), ReadProblems, Forbidden)
)]
pub async fn alerts(
    State(app): State<App>,
    Ids([shop_id]): Ids<1>,
    After(after_position): After,
    caller: Caller,
    Query(query): Query,
) -> Result<Json<Alerts>, Problem> {
    caller.must_be(&READERS)?;
    let mut fields = Fields::from_query(&query);
    let after = fields.optional_string("after", 1..=64);
    let limit = limit(&mut fields);
    let place = after.as_deref().map(alert_place);
    if place == Some(None) {
        fields.invalid("after", "must be the next of an answer");
    }
    fields.finish()?;
    app.caught_up(&[ledger::NAME, register::NAME], after_position).await?;
    shop(&app, shop_id).await?;
    let place = place.flatten().unwrap_or((0, 0, ""));
    let mut rows = ledger::alerts(&app.models, shop_id, place, limit + 1).await.map_err(failed)?;
    let next = cut(&mut rows, limit, |row| format!("{}-{}-{}", row.position, row.line, row.kind));
    let item = |row: ledger::AlertRow| AlertItem {
        article_id: row.article_id,
        kind: row.kind,
        stock: row.stock,
        threshold: row.threshold,
        at: row.at,
        position: row.position,
    };
    Ok(Json(Alerts { items: rows.into_iter().map(item).collect(), next }))
}

fn alert_place(text: &str) -> Option<(i64, i64, &str)> {
    let mut parts = text.splitn(3, '-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?))
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
    Problem::internal(&error)
}

fn limit(fields: &mut Fields<'_>) -> u32 {
    let limit = fields.optional_integer("limit", 1..=LIMIT_MAX).unwrap_or(LIMIT_DEFAULT);
    u32::try_from(limit).unwrap_or(1)
}

/// Leaves `limit` rows; where the next page begins, when there is one.
fn cut<T>(rows: &mut Vec<T>, limit: u32, place: impl Fn(&T) -> String) -> Option<String> {
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

struct TypeField(&'static str);

impl FieldValue for TypeField {
    fn placeholder() -> Self {
        Self("VENTE")
    }

    fn from_json(value: &serde_json::Value) -> Result<Self, String> {
        Self::from_text(value.as_str().unwrap_or_default())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        const TYPES: [&str; 6] = ["RECEIPT", "VENTE", "RETOUR", "ADJUSTMENT", "TRANSFER_OUT", "TRANSFER_IN"];
        let known = TYPES.into_iter().find(|known| *known == text);
        known.map(Self).ok_or_else(|| format!("must be one of {}", TYPES.join(", ")))
    }
}

/// Where a page of movements ended: position and line.
struct LinePlace(i64, i64);

impl FieldValue for LinePlace {
    fn placeholder() -> Self {
        Self(0, 0)
    }

    fn from_json(value: &serde_json::Value) -> Result<Self, String> {
        Self::from_text(value.as_str().unwrap_or_default())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let place =
            text.split_once('-').and_then(|(position, line)| Some(Self(position.parse().ok()?, line.parse().ok()?)));
        place.ok_or_else(|| "must be the next of an answer".to_owned())
    }
}
