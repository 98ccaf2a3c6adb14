//! What a shop sold today and this month.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use chrono::{Datelike, Months, Utc};
use chrono_tz::Tz;
use daybook_domain::reading::calendar::local_date;
use daybook_projections::shop::{ledger, register, sales};
use serde::Serialize;
use utoipa::ToSchema;

use super::refusal::{ReadRefusals, Refusal};
use super::terminal::Terminal;
use crate::app::App;
use crate::http::read::After;

const TOP_ARTICLES: u32 = 10;

/// A shop's figures.
#[derive(Serialize, ToSchema)]
pub struct Statistiques {
    success: bool,
    boutique: Boutique,
    statistiques: Figures,
}

/// The terminal's shop.
#[derive(Serialize, ToSchema)]
pub struct Boutique {
    id: i64,
    nom: String,
}

/// Sales are those that are paid and not cancelled; days are the shop's.
#[derive(Serialize, ToSchema)]
#[schema(as = StatistiquesChiffres)]
pub struct Figures {
    articles: Articles,
    categories: Categories,
    ventes_jour: Ventes,
    ventes_mois: Ventes,
    /// This month, the largest first.
    par_mode_paiement: Vec<ParMode>,
    /// This month, by pieces.
    top_articles: Vec<TopArticle>,
}

/// What may be sold.
#[derive(Serialize, ToSchema)]
#[schema(as = StatistiquesArticles)]
pub struct Articles {
    total: usize,
    /// At or under the shop's threshold.
    stock_bas: usize,
}

/// How many categories there are.
#[derive(Serialize, ToSchema)]
#[schema(as = StatistiquesCategories)]
pub struct Categories {
    total: usize,
}

/// Sales and their amount.
#[derive(Serialize, ToSchema)]
#[schema(as = StatistiquesVentes)]
pub struct Ventes {
    nombre: i64,
    #[schema(example = "40000.00")]
    chiffre_affaires: String,
}

/// Sales of one mode of payment.
#[derive(Serialize, ToSchema)]
pub struct ParMode {
    mode_paiement: String,
    nombre: i64,
    #[schema(example = "40000.00")]
    chiffre_affaires: String,
}

/// An article that sold well.
#[derive(Serialize, ToSchema)]
pub struct TopArticle {
    article_id: i64,
    nom: String,
    quantite: i64,
    #[schema(example = "40000.00")]
    chiffre_affaires: String,
}

impl From<sales::Turnover> for Ventes {
    fn from(turnover: sales::Turnover) -> Self {
        Self { nombre: turnover.nombre, chiffre_affaires: turnover.amount() }
    }
}

/// What the shop sold today and this month
#[utoipa::path(
    get,
    path = "/api/v2/simple/statistiques",
    tag = "Tills",
    security(("terminal" = [])),
    responses((status = 200, description = "The figures", body = Statistiques), ReadRefusals)
)]
pub async fn statistics(
    State(app): State<App>,
    After(after): After,
    terminal: Terminal,
) -> Result<Json<Statistiques>, Refusal> {
    app.caught_up(&[sales::NAME, register::NAME, ledger::NAME], after).await?;
    let shop = register::shop(&app.models, terminal.shop_id).await?.ok_or_else(Refusal::terminal_not_found)?;
    let today = local_date(shop.timezone.parse::<Tz>().unwrap_or_default(), Utc::now());
    let first = today.with_day(1).unwrap_or(today);
    let last = first.checked_add_months(Months::new(1)).and_then(|next| next.pred_opt()).unwrap_or(today);
    let articles = register::articles_on_sale(&app.models, shop.id).await?;
    let low = articles.iter().filter(|article| article.stock <= shop.low_stock_threshold).count();
    let categories: BTreeSet<&str> = articles.iter().filter_map(|article| article.category.as_deref()).collect();
    let models = &app.models;
    let by_mode = sales::by_mode(models, shop.id, today).await?.into_iter().map(|(mode_paiement, turnover)| ParMode {
        mode_paiement,
        nombre: turnover.nombre,
        chiffre_affaires: turnover.amount(),
    });
    let top = sales::top_articles(models, shop.id, today, TOP_ARTICLES).await?.into_iter().map(|top| TopArticle {
        article_id: top.article_id,
        nom: top.nom,
        quantite: top.quantite,
        chiffre_affaires: sales::decimal(top.montant),
    });
    let figures = Figures {
        articles: Articles { total: articles.len(), stock_bas: low },
        categories: Categories { total: categories.len() },
        ventes_jour: sales::turnover_of_days(models, shop.id, Some(today), Some(today)).await?.into(),
        ventes_mois: sales::turnover_of_days(models, shop.id, Some(first), Some(last)).await?.into(),
        par_mode_paiement: by_mode.collect(),
        top_articles: top.collect(),
    };
    Ok(Json(Statistiques { success: true, boutique: Boutique { id: shop.id, nom: shop.name }, statistiques: figures }))
}
