//! Sales as tills see them.

use chrono::{DateTime, Utc};
use daybook_domain::shop::SaleRecorded;
use daybook_eventlog::Position;
use daybook_projections::shop::sales::{Ligne, Sale};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::instant;

/// A recorded sale.
#[derive(Clone, Serialize, ToSchema)]
pub struct Vente {
    /// The same as `position`.
    id: i64,
    /// Of the event that recorded it.
    position: i64,
    numero_facture: String,
    /// When it happened at the till.
    #[serde(with = "instant")]
    date_vente: DateTime<Utc>,
    /// Decimal with two digits.
    #[schema(example = "40000.00")]
    montant_total: String,
    mode_paiement: String,
    paye: bool,
    annulee: bool,
    /// The terminal's name.
    terminal: String,
    lignes: Vec<LigneVente>,
}

/// A line of a recorded sale.
#[derive(Clone, Serialize, ToSchema)]
pub struct LigneVente {
    article_id: i64,
    article_nom: String,
    #[schema(required)]
    article_code: Option<String>,
    quantite: i64,
    #[schema(example = "40000.00")]
    prix_unitaire: String,
    #[schema(example = "40000.00")]
    sous_total: String,
}

impl From<Ligne> for LigneVente {
    fn from(ligne: Ligne) -> Self {
        Self {
            article_id: ligne.article_id,
            article_nom: ligne.article_nom,
            article_code: ligne.article_code,
            quantite: ligne.quantite,
            prix_unitaire: ligne.prix_unitaire.to_string(),
            sous_total: ligne.sous_total.to_string(),
        }
    }
}

impl From<Sale> for Vente {
    fn from(sale: Sale) -> Self {
        Self {
            id: sale.position,
            position: sale.position,
            numero_facture: sale.numero_facture,
            date_vente: sale.sold_at,
            montant_total: sale.montant_total.to_string(),
            mode_paiement: sale.mode_paiement.as_str().to_owned(),
            paye: sale.paye,
            annulee: sale.annulee,
            terminal: sale.terminal,
            lignes: sale.lignes.into_iter().map(LigneVente::from).collect(),
        }
    }
}

impl Vente {
    /// A sale that was recorded just now.
    pub fn recorded(sale: &SaleRecorded, position: Position) -> Self {
        let position = position.get().cast_signed();
        Self {
            id: position,
            position,
            numero_facture: sale.numero_facture.clone(),
            date_vente: sale.sold_at,
            montant_total: sale.montant_total.to_string(),
            mode_paiement: sale.mode_paiement.as_str().to_owned(),
            paye: sale.paye,
            annulee: false,
            terminal: sale.terminal_name.clone(),
            lignes: sale.lines.iter().map(|line| LigneVente::from(Ligne::from(line))).collect(),
        }
    }
}

/// What a sale or its cancelling did to the stock of an article.
#[derive(Clone, Serialize, ToSchema)]
pub struct StockUpdate {
    article_id: i64,
    stock_avant: i64,
    stock_apres: i64,
}

impl StockUpdate {
    /// One entry an article, from (article, stock before, stock after) of each line.
    pub fn by_article(lines: impl Iterator<Item = (i64, i64, i64)>) -> Vec<Self> {
        let mut updates: Vec<Self> = Vec::new();
        for (article_id, stock_avant, stock_apres) in lines {
            match updates.iter_mut().find(|update| update.article_id == article_id) {
                Some(update) => update.stock_apres = stock_apres,
                None => updates.push(Self { article_id, stock_avant, stock_apres }),
            }
        }
        updates
    }
}
