//! The terminals of a shop.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::Utc;
use daybook_domain::registry::RegistryCommand;
use daybook_domain::shop::{Shop, ShopCommand, ShopDecider, ShopId, Terminal};
use daybook_eventlog::{Answer, Decided, Executed};
use daybook_projections::shop::register::{self, TerminalRow};
use serde::Serialize;
use utoipa::ToSchema;

use super::author::Admin;
use super::page::{Page, PageQuery, paging};
use super::path::{ShopPath, TerminalPath};
use super::refusal::{no_shop, no_terminal, problem};
use super::shops;
use super::two_streams::{self, stream};
use super::values::{NAME_CHARS_MAX, Serial, TerminalKey};
use crate::app::App;
use crate::http::fields::Fields;
use crate::http::openapi::{Forbidden, ReadProblems, WriteProblems};
use crate::http::read::{After, NoQuery, Query};
use crate::http::unread::{models_unread, terminals_unread};
use crate::http::write::{Body, Write, answer, respond};
use crate::http::{Problem, ProblemBody};

/// A terminal to register.
#[derive(ToSchema)]
#[schema(as = NewTerminal)]
pub struct TerminalToRegister {
    /// Visible ASCII characters.
    #[schema(value_type = String, min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    serial: Serial,
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// The terminal then has to send it as `X-Device-Key`. Never shown again: only a digest is kept. Without a key,
    /// whoever knows the serial number can sell; a shop with `require_terminal_keys` takes no such terminal.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255, pattern = "^[!-~]([ -~]*[!-~])?$")]
    key: Option<TerminalKey>,
}

impl Body for TerminalToRegister {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            serial: fields.required("serial"),
            name: fields.string("name", 1..=NAME_CHARS_MAX),
            key: fields.optional("key"),
        }
    }
}

/// What changes of a terminal; what is left out stays as it is.
#[derive(ToSchema)]
#[schema(as = TerminalChange)]
pub struct TerminalToChange {
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// Whether it may sell. A terminal is active in one shop at a time.
    active: Option<bool>,
}

impl Body for TerminalToChange {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self { name: fields.optional_string("name", 1..=NAME_CHARS_MAX), active: fields.optional("active") }
    }
}

/// A terminal.
#[derive(Serialize, ToSchema)]
#[schema(as = Terminal)]
pub struct TerminalBody {
    serial: String,
    shop_id: i64,
    name: String,
    /// Whether it may sell.
    active: bool,
    /// Whether it has to send its key.
    has_key: bool,
}

impl TerminalBody {
    fn of(shop_id: ShopId, serial: &str, terminal: &Terminal) -> Self {
        Self {
            serial: serial.to_owned(),
            shop_id,
            name: terminal.name.clone(),
            active: terminal.active,
            has_key: terminal.key.is_some(),
        }
    }

    fn listed(shop_id: ShopId, terminal: TerminalRow) -> Self {
        let TerminalRow { serial, name, active, has_key } = terminal;
        Self { serial, shop_id, name, active, has_key }
    }
}

/// The terminals of a shop, by serial number
#[utoipa::path(
    get,
    operation_id = "list_terminals",
    path = "/api/v1/admin/shops/{id}/terminals",
    tag = "Administration",
    params(("id" = i64, Path, minimum = 1), PageQuery),
    responses((status = 200, description = "A page of terminals", body = Page<TerminalBody>), ReadProblems, Forbidden)
)]
pub async fn list(
    State(app): State<App>,
    _: Admin,
    ShopPath(shop_id): ShopPath,
    After(after): After,
    Query(query): Query,
) -> Result<Json<Page<TerminalBody>>, Problem> {
    let paging = paging(&query)?;
    app.caught_up(&[register::NAME], after).await?;
    shops::known(&app, shop_id).await?;
    let terminals = register::terminals(&app.models, shop_id, paging.skip(), paging.page_size).await;
    let (terminals, total) = terminals.map_err(models_unread)?;
    let terminals = terminals.into_iter().map(|terminal| TerminalBody::listed(shop_id, terminal));
    Ok(Json(Page::new(paging, terminals.collect(), total)))
}

/// One terminal of a shop
#[utoipa::path(
    get,
    operation_id = "get_terminal",
    path = "/api/v1/admin/shops/{id}/terminals/{serial}",
    tag = "Administration",
    params(("id" = i64, Path, minimum = 1), ("serial" = String, Path)),
    responses((status = 200, description = "The terminal", body = TerminalBody), ReadProblems, Forbidden)
)]
pub async fn get(
    State(app): State<App>,
    _: Admin,
    _: NoQuery,
    TerminalPath(shop_id, serial): TerminalPath,
    After(after): After,
) -> Result<Json<TerminalBody>, Problem> {
    app.caught_up(&[register::NAME], after).await?;
    found(&app, shop_id, &serial).await.map(Json)
}

/// Register a terminal
///
/// One of this shop that was deactivated may be registered again, with another name and another key.
#[utoipa::path(
    post,
    operation_id = "register_terminal",
    path = "/api/v1/admin/shops/{id}/terminals",
    tag = "Administration",
    params(("id" = i64, Path, minimum = 1)),
    request_body = TerminalToRegister,
    responses(
        (status = 201, description = "The terminal", body = TerminalBody),
        WriteProblems,
        (status = 409, description = "The terminal is active already, here or in another shop", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub async fn post(
    State(app): State<App>,
    ShopPath(shop_id): ShopPath,
    request: Write<Admin, TerminalToRegister>,
) -> Result<Response, Problem> {
    shops::must_be_open(&app, shop_id).await?;
    let (body, now) = (request.body, Utc::now());
    let key = body.key.map(|key| key.digest()).transpose().map_err(|error| Problem::internal(&error))?;
    let serial = body.serial.0;
    let ask = RegistryCommand::AssignTerminal { serial: serial.clone(), shop_id, now };
    let command = ShopCommand::RegisterTerminal { serial: serial.clone(), name: body.name, key, now };
    let shown = shown(StatusCode::CREATED, serial);
    let then = |_: &[_]| Ok((shop_id, command.clone()));
    let executed = two_streams::with_register(&app, &ask, then, &request.cause, shown).await?;
    changed(&app, executed).await
}

/// Rename, activate or deactivate a terminal
#[utoipa::path(
    put,
    operation_id = "change_terminal",
    path = "/api/v1/admin/shops/{id}/terminals/{serial}",
    tag = "Administration",
    params(("id" = i64, Path, minimum = 1), ("serial" = String, Path)),
    request_body = TerminalToChange,
    responses(
        (status = 200, description = "The terminal", body = TerminalBody),
        WriteProblems,
        (status = 409, description = "The terminal is active in another shop, or has no key and its shop requires one", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub async fn put(
    State(app): State<App>,
    TerminalPath(shop_id, serial): TerminalPath,
    request: Write<Admin, TerminalToChange>,
) -> Result<Response, Problem> {
    // Before the register is asked, which knows the terminals of all shops.
    found(&app, shop_id, &serial).await?;
    let (TerminalToChange { name, active }, now) = (request.body, Utc::now());
    let ask = active.map(|active| match active {
        true => RegistryCommand::AssignTerminal { serial: serial.clone(), shop_id, now },
        false => RegistryCommand::ReleaseTerminal { serial: serial.clone(), shop_id, now },
    });
    let command = ShopCommand::ChangeTerminal { serial: serial.clone(), name, active, now };
    let shown = shown(StatusCode::OK, serial);
    let executed = match ask {
        Some(ask) => {
            let then = |_: &[_]| Ok((shop_id, command.clone()));
            two_streams::with_register(&app, &ask, then, &request.cause, shown).await
        }
        None => app.shops.execute(&stream(shop_id), &command, &request.cause, shown).await.map_err(problem),
    };
    changed(&app, executed?).await
}

/// Answers once this node's tills are checked by what was changed.
async fn changed(app: &App, executed: Executed) -> Result<Response, Problem> {
    app.terminals.reach(executed.position).await.map_err(terminals_unread)?;
    Ok(respond(executed))
}

/// The terminal as the shop itself knows it, or 404.
async fn found(app: &App, shop_id: ShopId, serial: &str) -> Result<TerminalBody, Problem> {
    let look = |shop: &Shop| {
        let terminal = shop.open().ok_or_else(no_shop)?.terminals.get(serial).ok_or_else(no_terminal)?;
        Ok(TerminalBody::of(shop_id, serial, terminal))
    };
    app.shops.view(&stream(shop_id), look).await.map_err(problem)?
}

fn shown(status: StatusCode, serial: String) -> impl Fn(Decided<'_, ShopDecider>) -> Answer + Send + Sync + 'static {
    move |decided| {
        let shop = decided.state.open();
        let terminal = shop.and_then(|shop| Some((shop.shop_id, shop.terminals.get(&serial)?)));
        answer(status, &terminal.map(|(shop_id, terminal)| TerminalBody::of(shop_id, &serial, terminal)))
    }
}
