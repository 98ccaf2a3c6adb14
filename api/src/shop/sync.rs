//! Sales from a till, many at once: each is recorded whole or not at all, and none keeps another from being recorded.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use daybook_domain::shop::{
    KnownSale, OpenShop, RECENT_NUMBERS_MAX, RecordSales, SaleDraft, SaleError, SaleRecorded, SalesPlan, Shop,
    ShopCommand, ShopDecider, ShopEvent, ShopId, generated_number, plan_sales,
};
use daybook_eventlog::{Cause, Decided, Executed, LookUp, Position, Render};
use daybook_projections::shop::sales;
use serde::Serialize;
use utoipa::ToSchema;

use super::parse::{self, SentSale};
use super::refusal::{Refusal, WriteRefusals};
use super::terminal::{Terminal, stream};
use super::vente::{StockUpdate, Vente};
use crate::app::App;
use crate::caught_up::NotCaughtUp;
use crate::http::write::{answer, respond};

/// How far the register of sales may be behind the log while the shop's own memory of its last numbers still covers
/// what it lacks: every sale after the register's checkpoint is one of at most so many events.
const REGISTER_LAG_MAX: u64 = RECENT_NUMBERS_MAX as u64 / 2;

/// A sale as a till sends it. Fields not named here are passed over.
#[derive(ToSchema)]
#[schema(as = VenteEnvoyee)]
#[expect(dead_code, reason = "describes the body; `parse` reads it")]
pub struct SaleToSend {
    /// Generated as `VENTE-{boutique}-{timestamp}-{index}` when there is none.
    numero_facture: Option<String>,
    /// CASH, MOBILE_MONEY or CARTE; CARD and MOBILE are read as well.
    #[schema(default = "CASH")]
    mode_paiement: Option<String>,
    #[schema(default = true)]
    paye: Option<bool>,
    /// When it happened; the server's time when left out, more than 30 minutes ahead, or longer ago than
    /// `DAYBOOK_TILL_PAST_MAX`.
    date_vente: Option<DateTime<Utc>>,
    lignes: Vec<LineToSend>,
}

/// A line of a sale.
#[derive(ToSchema)]
#[schema(as = LigneEnvoyee)]
#[expect(dead_code, reason = "describes the body; `parse` reads it")]
pub struct LineToSend {
    article_id: i64,
    #[schema(minimum = 1, default = 1)]
    quantite: Option<i64>,
    /// The article's price when left out.
    #[schema(minimum = 0)]
    prix_unitaire: Option<f64>,
}

/// What became of a batch.
#[derive(Serialize, ToSchema)]
pub struct Synchronisation {
    success: bool,
    message: String,
    boutique_id: i64,
    boutique_nom: String,
    /// The terminal's name.
    terminal: String,
    statistiques: Counts,
    ventes_creees: Vec<VenteCreee>,
    /// Null when every sale was recorded.
    #[schema(required)]
    ventes_erreurs: Option<Vec<VenteErreur>>,
}

/// How many sales went which way.
#[derive(Serialize, ToSchema)]
#[schema(as = SynchronisationStatistiques)]
pub struct Counts {
    total_envoyees: usize,
    reussies: usize,
    erreurs: usize,
}

/// A sale that was recorded.
#[derive(Serialize, ToSchema)]
pub struct VenteCreee {
    numero_facture: String,
    /// Decimal with two digits.
    #[schema(example = "40000.00")]
    montant_total: String,
    lignes: Vec<LigneCreee>,
    /// The same as `position`.
    id: i64,
    /// Of the event that recorded it.
    position: i64,
    /// One entry an article.
    stock_updates: Vec<StockUpdate>,
}

/// A line of a sale that was recorded.
#[derive(Serialize, ToSchema)]
pub struct LigneCreee {
    article_nom: String,
    quantite: i64,
    #[schema(example = "40000.00")]
    prix_unitaire: String,
    #[schema(example = "40000.00")]
    sous_total: String,
}

/// A sale that was not recorded.
#[derive(Clone, Serialize, ToSchema)]
pub struct VenteErreur {
    /// Place in the batch, from 1.
    index: usize,
    /// As it was sent.
    #[schema(required)]
    numero_facture: Option<String>,
    /// In French.
    erreur: String,
    /// For programs: DUPLICATE, INSUFFICIENT_STOCK …
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// `already_exists` of a sale that was recorded before.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    /// The sale that was recorded before.
    #[serde(skip_serializing_if = "Option::is_none")]
    vente: Option<Vente>,
}

/// Record sales
///
/// Always 201 once the batch was worked through, also when no sale could be recorded: `ventes_erreurs` says why.
#[utoipa::path(
    post,
    path = "/api/v2/simple/ventes/sync",
    tag = "Tills",
    security(("terminal" = [])),
    request_body = Vec<SaleToSend>,
    responses((status = 201, description = "What became of each sale", body = Synchronisation), WriteRefusals)
)]
pub async fn sync(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let (terminal, bytes, cause) = Terminal::asks(request).await?;
    let sales = parse::batch(&bytes)?;
    record(&app, &terminal, sales, &cause).await.map(respond)
}

/// A batch on its way to a decision.
struct Batch<'a> {
    app: &'a App,
    terminal: &'a Terminal,
    /// The invoice numbers as they were sent.
    numbers: Vec<Option<String>>,
    sales: Vec<Result<SaleDraft, SaleError>>,
    now: DateTime<Utc>,
}

async fn record(app: &App, terminal: &Terminal, sales: Vec<SentSale>, cause: &Cause) -> Result<Executed, Refusal> {
    let (numbers, sales) = sales.into_iter().map(|sale| (sale.numero_facture, sale.draft)).unzip();
    let batch = Batch { app, terminal, numbers, sales, now: Utc::now() };
    let executed = app.shops.execute_with(&stream(terminal.shop_id), cause, &batch).await;
    executed.map_err(|error| error.or_else(Refusal::from))
}

impl LookUp<ShopDecider> for Batch<'_> {
    type Failure = Refusal;

    async fn prepare(&self) -> Result<(), Refusal> {
        Ok(self.app.reached(&[sales::NAME], covered(self.app).await?).await?)
    }

    async fn look_up(&self, shop: &Shop) -> Result<(ShopCommand, Render<ShopDecider>), Refusal> {
        let shop = shop.open().ok_or_else(Refusal::terminal_not_found)?;
        let till = self.terminal.still_in(shop)?;
        let command = RecordSales {
            terminal_serial: self.terminal.serial.clone(),
            now: self.now,
            past_max: self.app.till_past_max,
            sales: self.sales.clone(),
            known: known_numbers(self.app, shop, &self.numbers, self.now).await?,
        };
        // The decision plans once more, on the same state and command: what becomes of each sale is the same.
        let plan = plan_sales(shop, &command);
        let report = Report {
            shop_id: shop.shop_id,
            shop_name: shop.settings.name.clone(),
            terminal_name: till.name.clone(),
            earlier: earlier_sales(self.app, shop, &self.numbers, &plan).await?,
            numbers: self.numbers.clone(),
            outcomes: plan.outcomes,
        };
        let render = move |decided: Decided<'_, ShopDecider>| {
            answer(StatusCode::CREATED, &report.body(decided.events, &decided.appended.positions))
        };
        Ok((ShopCommand::RecordSales(command), Arc::new(render)))
    }
}

/// The numbers of the batch that the register of sales has, as far as the shop does not remember them itself.
async fn known_numbers(
    app: &App,
    shop: &OpenShop,
    numbers: &[Option<String>],
    now: DateTime<Utc>,
) -> Result<HashMap<String, KnownSale>, Refusal> {
    if shop.recent.is_complete() {
        // The shop has not sold more yet than it remembers.
        return Ok(HashMap::new());
    }
    app.reached(&[sales::NAME], covered(app).await?).await?;
    let older = |number: &&str| shop.recent.fingerprint(number).is_none();
    let given: Vec<&str> = numbers.iter().flatten().map(String::as_str).filter(older).collect();
    let mut found =
        if given.is_empty() { HashMap::new() } else { sales::fingerprints(&app.models, shop.shop_id, &given).await? };
    if numbers.iter().any(Option::is_none) {
        // Somebody may have used numbers of the kind that is generated now.
        let first = generated_number(shop.shop_id, now, 0);
        let prefix = first.strip_suffix('0').unwrap_or(&first);
        found.extend(sales::numbers_from(&app.models, shop.shop_id, prefix).await?);
    }
    Ok(found.into_iter().map(|(number, fingerprint)| (number, KnownSale { fingerprint })).collect())
}

/// How far the register of sales has to be, so that the shop itself remembers what it lacks.
async fn covered(app: &App) -> Result<Position, NotCaughtUp> {
    Ok(Position::new(app.head().await.map_err(NotCaughtUp::Head)?.get().saturating_sub(REGISTER_LAG_MAX)))
}

/// The sales that the batch repeats, as they were recorded.
async fn earlier_sales(
    app: &App,
    shop: &OpenShop,
    numbers: &[Option<String>],
    plan: &SalesPlan,
) -> Result<HashMap<String, Vente>, Refusal> {
    let fresh = |number: &str| plan.events.iter().any(|sale| sale.numero_facture == number);
    let repeated: Vec<&str> = numbers
        .iter()
        .zip(&plan.outcomes)
        .filter(|(_, outcome)| matches!(outcome, Err(SaleError::Duplicate { .. })))
        .filter_map(|(number, _)| number.as_deref())
        .filter(|number| !fresh(number))
        .collect();
    if repeated.is_empty() {
        return Ok(HashMap::new());
    }
    app.caught_up(&[sales::NAME], None).await?;
    let found = sales::by_numbers(&app.models, shop.shop_id, &repeated).await?;
    Ok(found.into_iter().map(|sale| (sale.numero_facture.clone(), Vente::from(sale))).collect())
}

/// What is needed to answer once the positions are known.
struct Report {
    shop_id: ShopId,
    shop_name: String,
    terminal_name: String,
    numbers: Vec<Option<String>>,
    outcomes: Vec<Result<usize, SaleError>>,
    earlier: HashMap<String, Vente>,
}

impl Report {
    fn body(&self, events: &[ShopEvent], positions: &[Position]) -> Synchronisation {
        let recorded: Vec<(&SaleRecorded, Position)> = events
            .iter()
            .zip(positions)
            .filter_map(|(event, position)| match event {
                ShopEvent::SaleRecorded(sale) => Some((sale, *position)),
                _ => None,
            })
            .collect();
        let refused = self
            .outcomes
            .iter()
            .enumerate()
            .filter_map(|(place, outcome)| outcome.as_ref().err().map(|error| self.error(place, error, &recorded)));
        let errors: Vec<VenteErreur> = refused.collect();
        let created: Vec<VenteCreee> = recorded.iter().map(|(sale, position)| created(sale, *position)).collect();
        Synchronisation {
            success: true,
            message: format!("{} vente(s) synchronisée(s) avec succès", created.len()),
            boutique_id: self.shop_id,
            boutique_nom: self.shop_name.clone(),
            terminal: self.terminal_name.clone(),
            statistiques: Counts {
                total_envoyees: self.outcomes.len(),
                reussies: created.len(),
                erreurs: errors.len(),
            },
            ventes_creees: created,
            ventes_erreurs: Some(errors).filter(|errors| !errors.is_empty()),
        }
    }

    fn error(&self, place: usize, error: &SaleError, recorded: &[(&SaleRecorded, Position)]) -> VenteErreur {
        let numero_facture = self.numbers.get(place).cloned().flatten();
        let duplicate = matches!(error, SaleError::Duplicate { .. });
        let vente = numero_facture.as_deref().filter(|_| duplicate).and_then(|number| {
            let same_batch = recorded.iter().find(|(sale, _)| sale.numero_facture == number);
            let same_batch = same_batch.map(|(sale, position)| Vente::recorded(sale, *position));
            same_batch.or_else(|| self.earlier.get(number).cloned())
        });
        VenteErreur {
            index: place + 1,
            numero_facture,
            erreur: error.to_string(),
            code: error.code(),
            status: duplicate.then_some("already_exists"),
            vente,
        }
    }
}

fn created(sale: &SaleRecorded, position: Position) -> VenteCreee {
    let position = position.get().cast_signed();
    let lignes = sale.lines.iter().map(|line| LigneCreee {
        article_nom: line.article_nom.clone(),
        quantite: line.quantite,
        prix_unitaire: line.prix_unitaire.to_string(),
        sous_total: line.sous_total.to_string(),
    });
    let stocks = sale.lines.iter().map(|line| (line.article_id, line.stock_before, line.stock_after));
    VenteCreee {
        numero_facture: sale.numero_facture.clone(),
        montant_total: sale.montant_total.to_string(),
        lignes: lignes.collect(),
        id: position,
        position,
        stock_updates: StockUpdate::by_article(stocks),
    }
}
