//! Shops and their settings.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::Utc;
use chrono_tz::{Africa, Tz};
use daybook_domain::registry::RegistryCommand;
use daybook_domain::shop::{OpenShop, Shop, ShopCommand, ShopDecider, ShopId};
use daybook_eventlog::{Answer, Decided};
use daybook_projections::shop::register::{self, ShopRow};
use serde::Serialize;
use utoipa::ToSchema;

use super::author::Admin;
use super::page::{Page, PageQuery, paging};
use super::path::ShopPath;
use super::refusal::{no_shop, problem};
use super::two_streams::{self, stream};
use super::values::{Currency, ID_MAX, NAME_CHARS_MAX};
use crate::app::App;
use crate::http::fields::Fields;
use crate::http::openapi::{Forbidden, ReadProblems, WriteProblems};
use crate::http::read::{After, NoQuery, Query};
use crate::http::unread::models_unread;
use crate::http::write::{Body, Write, answer, respond};
use crate::http::{Problem, ProblemBody};

const CURRENCY: &str = "CDF";
const TIMEZONE: Tz = Africa::Kinshasa;
const LOW_STOCK_THRESHOLD: i64 = 5;
const LOW_STOCK_THRESHOLD_MAX: i64 = 1_000_000_000;

/// A shop to open.
#[derive(ToSchema)]
#[schema(as = NewShop)]
pub struct ShopToOpen {
    /// The next free one when left out.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    id: Option<i64>,
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Of its prices.
    #[schema(value_type = Option<String>, pattern = "^[A-Z]{3}$", default = "CDF")]
    currency: Option<Currency>,
    /// IANA zone whose calendar its days are counted in.
    #[schema(value_type = Option<String>, default = "Africa/Kinshasa")]
    timezone: Option<Tz>,
    /// Whether it sells what it does not have.
    #[schema(default = false)]
    allow_negative_stock: Option<bool>,
    /// At or under this many units an article is low.
    #[schema(minimum = 0, maximum = 1_000_000_000, default = 5)]
    low_stock_threshold: Option<i64>,
    /// Whether a terminal can only be registered with a key.
    #[schema(default = false)]
    require_terminal_keys: Option<bool>,
}

impl Body for ShopToOpen {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            id: fields.optional_integer("id", 1..=ID_MAX),
            name: fields.string("name", 1..=NAME_CHARS_MAX),
            currency: fields.optional("currency"),
            timezone: fields.optional("timezone"),
            allow_negative_stock: fields.optional("allow_negative_stock"),
            low_stock_threshold: fields.optional_integer("low_stock_threshold", 0..=LOW_STOCK_THRESHOLD_MAX),
            require_terminal_keys: fields.optional("require_terminal_keys"),
        }
    }
}

/// What changes of a shop; what is left out stays as it is.
#[derive(ToSchema)]
#[schema(as = ShopChange)]
pub struct ShopToChange {
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// Of its prices; 409 once something was sold.
    #[schema(value_type = Option<String>, pattern = "^[A-Z]{3}$")]
    currency: Option<Currency>,
    /// IANA zone whose calendar its days are counted in.
    #[schema(value_type = Option<String>)]
    timezone: Option<Tz>,
    /// Whether it sells what it does not have.
    allow_negative_stock: Option<bool>,
    /// At or under this many units an article is low.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    low_stock_threshold: Option<i64>,
    /// Whether a terminal can only be registered with a key; 409 as long as active ones have none.
    require_terminal_keys: Option<bool>,
}

impl Body for ShopToChange {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            name: fields.optional_string("name", 1..=NAME_CHARS_MAX),
            currency: fields.optional("currency"),
            timezone: fields.optional("timezone"),
            allow_negative_stock: fields.optional("allow_negative_stock"),
            low_stock_threshold: fields.optional_integer("low_stock_threshold", 0..=LOW_STOCK_THRESHOLD_MAX),
            require_terminal_keys: fields.optional("require_terminal_keys"),
        }
    }
}

/// A shop.
#[derive(Serialize, ToSchema)]
#[schema(as = Shop)]
pub struct ShopBody {
    id: i64,
    name: String,
    /// Of its prices.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: String,
    /// IANA zone whose calendar its days are counted in.
    timezone: String,
    /// Whether it sells what it does not have.
    allow_negative_stock: bool,
    /// At or under this many units an article is low.
    #[schema(minimum = 0)]
    low_stock_threshold: i64,
    /// Whether a terminal can only be registered with a key.
    require_terminal_keys: bool,
}

impl From<&OpenShop> for ShopBody {
    fn from(shop: &OpenShop) -> Self {
        Self {
            id: shop.shop_id,
            name: shop.settings.name.clone(),
            currency: shop.settings.currency.clone(),
            timezone: shop.settings.timezone.name().to_owned(),
            allow_negative_stock: shop.settings.allow_negative_stock,
            low_stock_threshold: shop.settings.low_stock_threshold,
            require_terminal_keys: shop.settings.require_terminal_keys,
        }
    }
}

impl From<ShopRow> for ShopBody {
    fn from(shop: ShopRow) -> Self {
        Self {
            id: shop.id,
            name: shop.name,
            currency: shop.currency,
            timezone: shop.timezone,
            allow_negative_stock: shop.allow_negative_stock,
            low_stock_threshold: shop.low_stock_threshold,
            require_terminal_keys: shop.require_terminal_keys,
        }
    }
}

/// All shops, by id
#[utoipa::path(
    get,
    operation_id = "list_shops",
    path = "/api/v1/admin/shops",
    tag = "Administration",
    params(PageQuery),
    responses((status = 200, description = "A page of shops", body = Page<ShopBody>), ReadProblems, Forbidden)
)]
pub async fn list(
    State(app): State<App>,
    _: Admin,
    After(after): After,
    Query(query): Query,
) -> Result<Json<Page<ShopBody>>, Problem> {
    let paging = paging(&query)?;
    app.caught_up(&[register::NAME], after).await?;
    let shops = register::shops(&app.models, paging.skip(), paging.page_size).await;
    let (shops, total) = shops.map_err(models_unread)?;
    Ok(Json(Page::new(paging, shops.into_iter().map(ShopBody::from).collect(), total)))
}

/// One shop
#[utoipa::path(
    get,
    operation_id = "get_shop",
    path = "/api/v1/admin/shops/{id}",
    tag = "Administration",
    params(("id" = i64, Path, minimum = 1)),
    responses((status = 200, description = "The shop", body = ShopBody), ReadProblems, Forbidden)
)]
pub async fn get(
    State(app): State<App>,
    _: Admin,
    _: NoQuery,
    ShopPath(shop_id): ShopPath,
    After(after): After,
) -> Result<Json<ShopBody>, Problem> {
    app.caught_up(&[register::NAME], after).await?;
    known(&app, shop_id).await.map(|shop| Json(shop.into()))
}

/// Open a shop
#[utoipa::path(
    post,
    operation_id = "open_shop",
    path = "/api/v1/admin/shops",
    tag = "Administration",
    request_body = ShopToOpen,
    responses(
        (status = 201, description = "The shop", body = ShopBody),
        WriteProblems,
        (status = 409, description = "The id is taken", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub async fn post(State(app): State<App>, request: Write<Admin, ShopToOpen>) -> Result<Response, Problem> {
    let (body, now) = (request.body, Utc::now());
    let ask = RegistryCommand::TakeShopId { id: body.id, now };
    let executed = two_streams::with_register(
        &app,
        &ask,
        |registered| {
            let shop_id = two_streams::number(registered)?;
            let command = ShopCommand::OpenShop {
                shop_id,
                name: body.name.clone(),
                currency: body.currency.as_ref().map_or(CURRENCY, |currency| &currency.0).to_owned(),
                timezone: body.timezone.unwrap_or(TIMEZONE),
                allow_negative_stock: body.allow_negative_stock.unwrap_or(false),
                low_stock_threshold: body.low_stock_threshold.unwrap_or(LOW_STOCK_THRESHOLD),
                require_terminal_keys: body.require_terminal_keys.unwrap_or(false),
                now,
            };
            Ok((shop_id, command))
        },
        &request.cause,
        shown(StatusCode::CREATED),
    );
    executed.await.map(respond)
}

/// Change a shop
#[utoipa::path(
    put,
    operation_id = "change_shop",
    path = "/api/v1/admin/shops/{id}",
    tag = "Administration",
    params(("id" = i64, Path, minimum = 1)),
    request_body = ShopToChange,
    responses(
        (status = 200, description = "The shop", body = ShopBody),
        WriteProblems,
        (status = 409, description = "The shop has sold in its currency, or has active terminals without a key", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub async fn put(
    State(app): State<App>,
    ShopPath(shop_id): ShopPath,
    request: Write<Admin, ShopToChange>,
) -> Result<Response, Problem> {
    let body = request.body;
    let command = ShopCommand::ChangeShop {
        name: body.name,
        currency: body.currency.map(|currency| currency.0),
        timezone: body.timezone,
        allow_negative_stock: body.allow_negative_stock,
        low_stock_threshold: body.low_stock_threshold,
        require_terminal_keys: body.require_terminal_keys,
        now: Utc::now(),
    };
    let executed = app.shops.execute(&stream(shop_id), &command, &request.cause, shown(StatusCode::OK)).await;
    executed.map(respond).map_err(problem)
}

/// The shop as the read model has it, or 404.
pub async fn known(app: &App, shop_id: ShopId) -> Result<ShopRow, Problem> {
    let shop = register::shop(&app.models, shop_id).await.map_err(models_unread)?;
    shop.ok_or_else(no_shop)
}

/// 404 unless the shop is open. It stays open for ever, so that nobody has to look again.
pub async fn must_be_open(app: &App, shop_id: ShopId) -> Result<(), Problem> {
    let is_open = app.shops.view(&stream(shop_id), |shop| shop.open().is_some()).await.map_err(problem)?;
    if is_open { Ok(()) } else { Err(no_shop()) }
}

fn shown(status: StatusCode) -> impl Fn(Decided<'_, ShopDecider>) -> Answer + Send + Sync + 'static {
    move |decided| answer(status, &Shop::open(decided.state).map(ShopBody::from))
}
