//! What the sales are asked.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;
use daybook_domain::shop::{Money, PaymentMode};
use daybook_eventlog::from_micros;

use super::{Ligne, month};
use crate::{ReadModels, ReadModelsError, models::StoredText};

/// A sale.
#[derive(Debug, Clone, PartialEq)]
pub struct Sale {
    /// Of its event; its id.
    pub position: i64,
    /// Its number.
    pub numero_facture: String,
    /// When it happened at the till.
    pub sold_at: DateTime<Utc>,
    /// The shop's zone when it was recorded.
    pub timezone: Tz,
    /// In hundredths.
    pub montant_total: Money,
    /// How it was paid.
    pub mode_paiement: PaymentMode,
    /// It is paid.
    pub paye: bool,
    /// It was cancelled.
    pub annulee: bool,
    /// The terminal's name.
    pub terminal: String,
    /// What was sold.
    pub lignes: Vec<Ligne>,
    /// Of the content as the till sent it.
    pub fingerprint: String,
}

type SaleTuple = (i64, StoredText, i64, String, i64, String, i64, i64, StoredText, StoredText, StoredText);

fn sale_of(row: SaleTuple) -> Result<Sale, ReadModelsError> {
    let (
        position,
        numero_facture,
        sold_at,
        timezone,
        montant_total,
        mode_paiement,
        paye,
        annulee,
        terminal,
        lignes,
        fingerprint,
    ) = row;
    let lignes = serde_json::from_str(&lignes.0)
        .map_err(|error| ReadModelsError::Corrupt(format!("the lines of the sale at {position}: {error}")))?;
    let mode_paiement = PaymentMode::parse(&mode_paiement)
        .ok_or_else(|| ReadModelsError::Corrupt(format!("{mode_paiement:?} is no mode of payment")))?;
    Ok(Sale {
        position,
        numero_facture: numero_facture.0,
        sold_at: from_micros(sold_at),
        timezone: timezone.parse().map_err(|_| ReadModelsError::Corrupt(format!("{timezone:?} is no time zone")))?,
        montant_total: Money::from_hundredths(montant_total).unwrap_or_default(),
        mode_paiement,
        paye: paye != 0,
        annulee: annulee != 0,
        terminal: terminal.0,
        lignes,
        fingerprint: fingerprint.0,
    })
}

const SALE: &str = "SELECT position, numero_facture, sold_at, timezone, montant_total, mode_paiement, paye, annulee, terminal, \
                    lignes, fingerprint FROM sales";
/// Numbers looked up by one statement.
const NUMBERS_A_QUERY: usize = 100;

/// Those of `numbers` that the shop has used, with the fingerprints of their sales.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn fingerprints(
    models: &ReadModels,
    shop: i64,
    numbers: &[&str],
) -> Result<HashMap<String, String>, ReadModelsError> {
    let mut found = HashMap::new();
    for numbers in numbers.chunks(NUMBERS_A_QUERY) {
        let sql = format!(
            "SELECT numero_facture, fingerprint FROM sales WHERE shop_id = $1 AND numero_facture IN ({})",
            places(2, numbers.len())
        );
        let rows: Vec<(StoredText, StoredText)> =
            models.query(sql).bind(shop).bind_all(numbers.iter().copied()).fetch_all().await?;
        found.extend(rows.into_iter().map(|(number, fingerprint)| (number.0, fingerprint.0)));
    }
    Ok(found)
}

/// The shop's sales of these numbers.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn by_numbers(models: &ReadModels, shop: i64, numbers: &[&str]) -> Result<Vec<Sale>, ReadModelsError> {
    let mut found = Vec::with_capacity(numbers.len());
    for numbers in numbers.chunks(NUMBERS_A_QUERY) {
        let sql = format!("{SALE} WHERE shop_id = $1 AND numero_facture IN ({})", places(2, numbers.len()));
        let rows: Vec<SaleTuple> = models.query(sql).bind(shop).bind_all(numbers.iter().copied()).fetch_all().await?;
        for row in rows {
            found.push(sale_of(row)?);
        }
    }
    Ok(found)
}

fn places(first: usize, count: usize) -> String {
    (first..first + count).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ")
}

/// Which sales: those between two moments, and those of the days between two; open where there is no bound. The day
/// of a sale is the one that was recorded with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    /// Not before.
    pub from: Option<DateTime<Utc>>,
    /// Before.
    pub to: Option<DateTime<Utc>>,
    /// Not of an earlier day.
    pub first_day: Option<NaiveDate>,
    /// Not of a later day.
    pub last_day: Option<NaiveDate>,
}

/// No zone's day begins or ends farther than that from the day in UTC.
const ZONE_OFFSET_MAX: TimeDelta = TimeDelta::hours(24);

/// `sold_at` not before and before, `date` not before and not after.
type Bounds = (i64, i64, Option<String>, Option<String>);

impl Period {
    /// Bounds of days bound the times as well, so that the index by time leads to them.
    fn bounds(self) -> Bounds {
        let begun = self.first_day.map(|day| day.and_time(NaiveTime::MIN).and_utc() - ZONE_OFFSET_MAX);
        let over =
            self.last_day.map(|day| day.and_time(NaiveTime::MIN).and_utc() + TimeDelta::days(1) + ZONE_OFFSET_MAX);
        let micros = |at: DateTime<Utc>| at.timestamp_micros();
        (
            self.from.max(begun).map_or(i64::MIN, micros),
            [self.to, over].into_iter().flatten().min().map_or(i64::MAX, micros),
            self.first_day.map(|day| day.to_string()),
            self.last_day.map(|day| day.to_string()),
        )
    }
}

/// A page of a shop's sales, newest first, below (sold_at, position).
///
/// # Errors
/// [`ReadModelsError`]
pub async fn page(
    models: &ReadModels,
    shop: i64,
    period: Period,
    below: Option<(i64, i64)>,
    limit: u32,
) -> Result<Vec<Sale>, ReadModelsError> {
    let sql = format!(
        "{SALE} WHERE shop_id = $1 AND sold_at >= $2 AND sold_at < $3 AND ($4 IS NULL OR date >= $4) \
         AND ($5 IS NULL OR date <= $5) AND (sold_at, position) < ($6, $7) \
         ORDER BY sold_at DESC, position DESC LIMIT $8"
    );
    let (from, to, first, last) = period.bounds();
    let (sold_at, position) = below.unwrap_or((i64::MAX, i64::MAX));
    let page = models.query(sql).bind(shop).bind(from).bind(to).bind(first).bind(last);
    let rows: Vec<SaleTuple> = page.bind(sold_at).bind(position).bind(limit).fetch_all().await?;
    rows.into_iter().map(sale_of).collect()
}

/// How many paid sales that were not cancelled, and their amount in hundredths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turnover {
    /// Sales.
    pub nombre: i64,
    /// In hundredths.
    pub montant: i64,
}

impl Turnover {
    /// The amount with two decimals: `40000.00`.
    #[must_use]
    pub fn amount(self) -> String {
        decimal(self.montant)
    }
}

/// Hundredths as a decimal number. Sums may be larger than any single amount is allowed to be.
#[must_use]
pub fn decimal(hundredths: i64) -> String {
    let sign = if hundredths < 0 { "-" } else { "" };
    let digits = hundredths.unsigned_abs();
    format!("{sign}{}.{:02}", digits / 100, digits % 100)
}

/// What a shop's sales of a period add up to, one by one.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn turnover(models: &ReadModels, shop: i64, period: Period) -> Result<Turnover, ReadModelsError> {
    let sql = "SELECT count(*), CAST(coalesce(sum(montant_total), 0) AS BIGINT) FROM sales \
               WHERE shop_id = $1 AND sold_at >= $2 AND sold_at < $3 AND ($4 IS NULL OR date >= $4) \
               AND ($5 IS NULL OR date <= $5) AND paye = 1 AND annulee = 0";
    let (from, to, first, last) = period.bounds();
    let sums = models.query(sql).bind(shop).bind(from).bind(to).bind(first).bind(last);
    let (nombre, montant) = sums.fetch_one().await?;
    Ok(Turnover { nombre, montant })
}

/// What a shop's sales of whole days add up to, from the sums of the days.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn turnover_of_days(
    models: &ReadModels,
    shop: i64,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
) -> Result<Turnover, ReadModelsError> {
    let sql = "SELECT CAST(coalesce(sum(nombre), 0) AS BIGINT), CAST(coalesce(sum(montant), 0) AS BIGINT) FROM sales_days \
               WHERE shop_id = $1 AND ($2 IS NULL OR date >= $2) AND ($3 IS NULL OR date <= $3)";
    let text = |date: Option<NaiveDate>| date.map(|date| date.to_string());
    let (nombre, montant) = models.query(sql).bind(shop).bind(text(from)).bind(text(to)).fetch_one().await?;
    Ok(Turnover { nombre, montant })
}

/// A month's turnover by mode of payment, the largest first.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn by_mode(
    models: &ReadModels,
    shop: i64,
    month_of: NaiveDate,
) -> Result<Vec<(String, Turnover)>, ReadModelsError> {
    let sql = "SELECT mode_paiement, nombre, montant FROM sales_modes WHERE shop_id = $1 AND month = $2 AND nombre > 0 \
               ORDER BY montant DESC, mode_paiement";
    let rows: Vec<(String, i64, i64)> = models.query(sql).bind(shop).bind(month(month_of)).fetch_all().await?;
    Ok(rows.into_iter().map(|(mode, nombre, montant)| (mode, Turnover { nombre, montant })).collect())
}

/// An article's part of a month's turnover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopArticle {
    /// The article.
    pub article_id: i64,
    /// Its present name.
    pub nom: String,
    /// Pieces sold.
    pub quantite: i64,
    /// In hundredths.
    pub montant: i64,
}

/// The articles that sold best in a month, by pieces.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn top_articles(
    models: &ReadModels,
    shop: i64,
    month_of: NaiveDate,
    limit: u32,
) -> Result<Vec<TopArticle>, ReadModelsError> {
    let sql = "SELECT t.article_id, coalesce(a.name, ''), t.quantite, t.montant FROM sales_articles t \
               LEFT JOIN articles a ON a.shop_id = t.shop_id AND a.article_id = t.article_id \
               WHERE t.shop_id = $1 AND t.month = $2 AND t.quantite > 0 \
               ORDER BY t.quantite DESC, t.montant DESC, t.article_id LIMIT $3";
    let rows: Vec<(i64, StoredText, i64, i64)> =
        models.query(sql).bind(shop).bind(month(month_of)).bind(limit).fetch_all().await?;
    let row = |(article_id, nom, quantite, montant): (_, StoredText, _, _)| TopArticle {
        article_id,
        nom: nom.0,
        quantite,
        montant,
    };
    Ok(rows.into_iter().map(row).collect())
}

/// The shop's numbers that begin with `prefix`, with the fingerprints of their sales.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn numbers_from(
    models: &ReadModels,
    shop: i64,
    prefix: &str,
) -> Result<HashMap<String, String>, ReadModelsError> {
    // '~' comes after every digit: the range holds what the prefix is followed by a number in.
    let sql = "SELECT numero_facture, fingerprint FROM sales \
               WHERE shop_id = $1 AND numero_facture >= $2 AND numero_facture < $3";
    let rows: Vec<(StoredText, StoredText)> =
        models.query(sql).bind(shop).bind(prefix.to_owned()).bind(format!("{prefix}~")).fetch_all().await?;
    Ok(rows.into_iter().map(|(number, fingerprint)| (number.0, fingerprint.0)).collect())
}
