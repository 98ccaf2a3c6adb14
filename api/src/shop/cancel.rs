//! Taking a sale back: its articles return to the stock, the sale itself stays.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use daybook_domain::shop::{CancelSale, SaleToCancel, Shop, ShopCommand, ShopDecider, ShopEvent, SoldLine};
use daybook_eventlog::{Decided, LookUp, Render};
use daybook_projections::shop::sales::{self, Sale};
use serde::Serialize;
use utoipa::ToSchema;

use super::refusal::{Refusal, WriteRefusals};
use super::terminal::{Terminal, stream};
use super::vente::StockUpdate;
use crate::app::App;
use crate::http::fields::Fields;
use crate::http::write::{answer, respond};

const NUMBER_CHARS_MAX: usize = 100;
const MOTIF_CHARS_MAX: usize = 500;

/// The sale to take back.
#[derive(ToSchema)]
#[schema(as = Annuler)]
#[expect(dead_code, reason = "describes the body; `cancel` reads it")]
pub struct SaleToTakeBack {
    #[schema(min_length = 1, max_length = 100)]
    numero_facture: String,
    /// Why.
    #[schema(min_length = 1, max_length = 500)]
    motif: String,
}

/// A sale that was taken back.
#[derive(Serialize, ToSchema)]
pub struct Annulation {
    success: bool,
    numero_facture: String,
    /// Of the event that cancelled it.
    position: u64,
    /// One entry an article.
    stock_updates: Vec<StockUpdate>,
}

/// Cancel a sale
///
/// Any terminal of the shop may.
#[utoipa::path(
    post,
    path = "/api/v2/simple/ventes/annuler",
    tag = "Tills",
    security(("terminal" = [])),
    request_body = SaleToTakeBack,
    responses((status = 200, description = "Cancelled", body = Annulation), WriteRefusals)
)]
pub async fn cancel(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let (terminal, bytes, cause) = Terminal::asks(request).await?;
    let mut fields = Fields::from_json(&bytes).map_err(|_| Refusal::invalid_cancel())?.ignoring_unknown();
    let numero_facture = fields.string("numero_facture", 1..=NUMBER_CHARS_MAX);
    let motif = fields.string("motif", 1..=MOTIF_CHARS_MAX);
    fields.finish().map_err(|_| Refusal::invalid_cancel())?;

    let cancellation = Cancellation { app: &app, terminal: &terminal, numero_facture, motif, now: Utc::now() };
    let executed = app.shops.execute_with(&stream(terminal.shop_id), &cause, &cancellation).await;
    executed.map(respond).map_err(|error| error.or_else(Refusal::from))
}

/// A cancellation on its way to a decision.
struct Cancellation<'a> {
    app: &'a App,
    terminal: &'a Terminal,
    numero_facture: String,
    motif: String,
    now: DateTime<Utc>,
}

impl LookUp<ShopDecider> for Cancellation<'_> {
    type Failure = Refusal;

    async fn prepare(&self) -> Result<(), Refusal> {
        Ok(self.app.caught_up(&[sales::NAME], None).await?)
    }

    async fn look_up(&self, shop: &Shop) -> Result<(ShopCommand, Render<ShopDecider>), Refusal> {
        self.terminal.still_in(shop.open().ok_or_else(Refusal::terminal_not_found)?)?;
        // While the shop is locked nothing happens to its sales, so what is looked up now still holds at the append.
        self.app.caught_up(&[sales::NAME], None).await?;
        let found = sales::by_numbers(&self.app.models, self.terminal.shop_id, &[&self.numero_facture]).await?;
        let sale = found.into_iter().next().ok_or_else(Refusal::vente_not_found)?;
        let command = CancelSale {
            numero_facture: self.numero_facture.clone(),
            motif: self.motif.clone(),
            terminal: self.terminal.serial.clone(),
            already_cancelled: sale.annulee,
            sale: to_cancel(sale),
            now: self.now,
        };
        let number = self.numero_facture.clone();
        let render = move |decided: Decided<'_, ShopDecider>| answer(StatusCode::OK, &annulation(&number, &decided));
        Ok((ShopCommand::CancelSale(command), Arc::new(render)))
    }
}

fn to_cancel(sale: Sale) -> SaleToCancel {
    let line = |ligne: sales::Ligne| SoldLine {
        article_id: ligne.article_id,
        article_nom: ligne.article_nom,
        article_code: ligne.article_code,
        quantite: ligne.quantite,
        prix_unitaire: ligne.prix_unitaire,
        sous_total: ligne.sous_total,
    };
    SaleToCancel {
        position: sale.position.cast_unsigned(),
        sold_at: sale.sold_at,
        timezone: sale.timezone,
        mode: sale.mode_paiement,
        paye: sale.paye,
        montant_total: sale.montant_total,
        lines: sale.lignes.into_iter().map(line).collect(),
    }
}

fn annulation(numero_facture: &str, decided: &Decided<'_, ShopDecider>) -> Annulation {
    let lines = decided.events.iter().flat_map(|event| match event {
        ShopEvent::SaleCancelled(cancelled) => cancelled.lines.as_slice(),
        _ => &[],
    });
    let stocks = lines.map(|line| (line.article_id, line.stock_before, line.stock_after));
    Annulation {
        success: true,
        numero_facture: numero_facture.to_owned(),
        position: decided.appended.last.get(),
        stock_updates: StockUpdate::by_article(stocks),
    }
}
