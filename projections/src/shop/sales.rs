//! Sales, and what they add up to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use daybook_domain::{
    event::{Event, Stored},
    reading::calendar::local_date,
    shop::{Money, PaymentMode, SaleCancelled, SaleLine, SaleRecorded, ShopEvent},
};
use daybook_eventlog::from_micros;
use serde::{Deserialize, Serialize};

use crate::{
    Changes, Decoded, FoldError, Projection, ReadModels, ReadModelsError,
    table::{Column, Merge, Table, Value},
};

/// `sales`, `sales_days`, `sales_modes`, `sales_articles`.
pub struct Sales;

/// The projection's name.
pub const NAME: &str = "sales";

const SALES: Table = Table {
    name: "sales",
    key: 1,
    columns: &[
        Column::new("position"),
        Column::new("shop_id"),
        Column::new("numero_facture"),
        Column::new("sold_at"),
        Column::new("timezone"),
        Column::new("montant_total"),
        Column::new("mode_paiement"),
        Column::new("paye"),
        Column::new("annulee"),
        Column::new("terminal"),
        Column::new("lignes"),
        Column::new("fingerprint"),
    ],
};

const DAYS: Table = Table {
    name: "sales_days",
    key: 2,
    columns: &[
        Column::new("shop_id"),
        Column::new("date"),
        Column::merged("nombre", Merge::Add),
        Column::merged("montant", Merge::Add),
    ],
};

const MODES: Table = Table {
    name: "sales_modes",
    key: 3,
    columns: &[
        Column::new("shop_id"),
        Column::new("month"),
        Column::new("mode_paiement"),
        Column::merged("nombre", Merge::Add),
        Column::merged("montant", Merge::Add),
    ],
};

const ARTICLES: Table = Table {
    name: "sales_articles",
    key: 3,
    columns: &[
        Column::new("shop_id"),
        Column::new("month"),
        Column::new("article_id"),
        Column::merged("quantite", Merge::Add),
        Column::merged("montant", Merge::Add),
    ],
};

impl Projection for Sales {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        2
    }

    fn tables(&self) -> &'static [&'static Table] {
        &[&SALES, &DAYS, &MODES, &ARTICLES]
    }

    fn schema(&self) -> &'static str {
        include_str!("../../../migrations/sqlite/read_models/sales.sql")
    }

    fn takes(&self, event_type: &str) -> bool {
        [SaleRecorded::TYPE, SaleCancelled::TYPE].contains(&event_type)
    }

    fn fold(&self, events: &[Decoded]) -> Result<Changes, FoldError> {
        let mut rows: BTreeMap<u64, [Value; 12]> = BTreeMap::new();
        let mut cancelled: BTreeSet<u64> = BTreeSet::new();
        let mut sums = Sums::default();
        for decoded in events {
            match &decoded.event {
                Some(Event::Shop(ShopEvent::SaleRecorded(sale))) => {
                    rows.insert(decoded.position.get(), row(decoded, sale));
                    if sale.paye {
                        let day = Counted::new(sale.shop_id, sale.timezone, sale.sold_at, 1);
                        sums.add(&day, sale.montant_total, sale.mode_paiement.as_str(), &sale.lines);
                    }
                }
                Some(Event::Shop(ShopEvent::SaleCancelled(cancel))) => {
                    match rows.get_mut(&cancel.sale.position) {
                        Some(row) => row[8] = Value::Int(1),
                        None => {
                            cancelled.insert(cancel.sale.position);
                        }
                    }
                    if cancel.sale.paye {
                        let day = Counted::new(cancel.shop_id, cancel.timezone, cancel.sale.sold_at, -1);
                        sums.add(&day, cancel.sale.montant_total, cancel.sale.mode_paiement.as_str(), &cancel.lines);
                    }
                }
                _ => {}
            }
        }
        let mut changes = Changes::default();
        changes.upsert(&SALES, rows.into_values());
        let annulee = |position: u64| [Value::Int(position.cast_signed()), Value::Int(1)];
        changes.update(&SALES, &["annulee"], cancelled.into_iter().map(annulee));
        sums.into_changes(&mut changes);
        Ok(changes)
    }
}

fn row(decoded: &Decoded, sale: &SaleRecorded) -> [Value; 12] {
    let lignes: Vec<Ligne> = sale.lines.iter().map(Ligne::from).collect();
    [
        Value::Int(decoded.position.get().cast_signed()),
        Value::Int(sale.shop_id),
        Value::Text(sale.numero_facture.clone()),
        Value::Int(sale.sold_at.timestamp_micros()),
        Value::Word(sale.timezone.name()),
        Value::Int(sale.montant_total.hundredths()),
        Value::Word(sale.mode_paiement.as_str()),
        Value::Int(i64::from(sale.paye)),
        Value::Int(0),
        Value::Text(sale.terminal_name.clone()),
        // A list of plain structs always serialises.
        Value::Text(serde_json::to_string(&lignes).unwrap_or_default()),
        Value::Text(sale.fingerprint.clone()),
    ]
}

/// A line of a sale as the till's API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ligne {
    /// The article.
    pub article_id: i64,
    /// Its name at that time.
    pub article_nom: String,
    /// Its code at that time.
    pub article_code: Option<String>,
    /// Pieces.
    pub quantite: i64,
    /// `40000.00`
    pub prix_unitaire: Money,
    /// `40000.00`
    pub sous_total: Money,
}

impl From<&SaleLine> for Ligne {
    fn from(line: &SaleLine) -> Self {
        Self {
            article_id: line.article_id,
            article_nom: line.article_nom.clone(),
            article_code: line.article_code.clone(),
            quantite: line.quantite,
            prix_unitaire: line.prix_unitaire,
            sous_total: line.sous_total,
        }
    }
}

/// Where a sale counts, and with which sign.
struct Counted {
    shop: i64,
    date: NaiveDate,
    sign: i64,
}

impl Counted {
    fn new(shop: i64, zone: Tz, sold_at: DateTime<Utc>, sign: i64) -> Self {
        Self { shop, date: local_date(zone, sold_at), sign }
    }
}

type Sum = (i64, i64);

#[derive(Default)]
struct Sums {
    days: BTreeMap<(i64, NaiveDate), Sum>,
    modes: BTreeMap<(i64, String, &'static str), Sum>,
    articles: BTreeMap<(i64, String, i64), Sum>,
}

impl Sums {
    fn add(&mut self, at: &Counted, total: Money, mode: &'static str, lines: &[SaleLine]) {
        let add = |sum: &mut Sum, count: i64, amount: Money| {
            sum.0 = sum.0.saturating_add(at.sign * count);
            sum.1 = sum.1.saturating_add(at.sign * amount.hundredths());
        };
        let month = month(at.date);
        add(self.days.entry((at.shop, at.date)).or_default(), 1, total);
        add(self.modes.entry((at.shop, month.clone(), mode)).or_default(), 1, total);
        for line in lines {
            let sum = self.articles.entry((at.shop, month.clone(), line.article_id)).or_default();
            add(sum, line.quantite, line.sous_total);
        }
    }

    fn into_changes(self, changes: &mut Changes) {
        let day = |((shop, date), (count, amount)): ((i64, NaiveDate), Sum)| {
            [Value::Int(shop), Value::Text(date.to_string()), Value::Int(count), Value::Int(amount)]
        };
        changes.upsert(&DAYS, self.days.into_iter().map(day));
        let mode = |((shop, month, mode), (count, amount)): ((i64, String, &'static str), Sum)| {
            [Value::Int(shop), Value::Text(month), Value::Word(mode), Value::Int(count), Value::Int(amount)]
        };
        changes.upsert(&MODES, self.modes.into_iter().map(mode));
        let article = |((shop, month, article), (count, amount)): ((i64, String, i64), Sum)| {
            [Value::Int(shop), Value::Text(month), Value::Int(article), Value::Int(count), Value::Int(amount)]
        };
        changes.upsert(&ARTICLES, self.articles.into_iter().map(article));
    }
}

/// `2025-10`
fn month(date: NaiveDate) -> String {
    date.format("%Y-%m").to_string()
}

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

type SaleTuple = (i64, String, i64, String, i64, String, bool, bool, String, String, String);

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
    let lignes = serde_json::from_str(&lignes)
        .map_err(|error| ReadModelsError::Corrupt(format!("the lines of the sale at {position}: {error}")))?;
    let mode_paiement = PaymentMode::parse(&mode_paiement)
        .ok_or_else(|| ReadModelsError::Corrupt(format!("{mode_paiement:?} is no mode of payment")))?;
    Ok(Sale {
        position,
        numero_facture,
        sold_at: from_micros(sold_at),
        timezone: timezone.parse().map_err(|_| ReadModelsError::Corrupt(format!("{timezone:?} is no time zone")))?,
        montant_total: Money::from_hundredths(montant_total).unwrap_or_default(),
        mode_paiement,
        paye,
        annulee,
        terminal,
        lignes,
        fingerprint,
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
        let mut query = sqlx::query_as::<_, (String, String)>(sqlx::AssertSqlSafe(sql)).bind(shop);
        for number in numbers {
            query = query.bind((*number).to_owned());
        }
        found.extend(query.fetch_all(models.pool()).await?);
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
        let mut query = sqlx::query_as::<_, SaleTuple>(sqlx::AssertSqlSafe(sql)).bind(shop);
        for number in numbers {
            query = query.bind((*number).to_owned());
        }
        for row in query.fetch_all(models.pool()).await? {
            found.push(sale_of(row)?);
        }
    }
    Ok(found)
}

fn places(first: usize, count: usize) -> String {
    (first..first + count).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ")
}

/// A stretch of time; open where there is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    /// Not before.
    pub from: Option<DateTime<Utc>>,
    /// Before.
    pub to: Option<DateTime<Utc>>,
}

impl Period {
    fn bounds(self) -> (i64, i64) {
        (
            self.from.map_or(i64::MIN, |from| from.timestamp_micros()),
            self.to.map_or(i64::MAX, |to| to.timestamp_micros()),
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
        "{SALE} WHERE shop_id = $1 AND sold_at >= $2 AND sold_at < $3 AND (sold_at, position) < ($4, $5) \
         ORDER BY sold_at DESC, position DESC LIMIT $6"
    );
    let (from, to) = period.bounds();
    let (sold_at, position) = below.unwrap_or((i64::MAX, i64::MAX));
    let rows: Vec<SaleTuple> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(shop)
        .bind(from)
        .bind(to)
        .bind(sold_at)
        .bind(position)
        .bind(limit)
        .fetch_all(models.pool())
        .await?;
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
    let sql = "SELECT count(*), coalesce(sum(montant_total), 0) FROM sales \
               WHERE shop_id = $1 AND sold_at >= $2 AND sold_at < $3 AND paye = 1 AND annulee = 0";
    let (from, to) = period.bounds();
    let (nombre, montant) = sqlx::query_as(sql).bind(shop).bind(from).bind(to).fetch_one(models.pool()).await?;
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
    let sql = "SELECT coalesce(sum(nombre), 0), coalesce(sum(montant), 0) FROM sales_days \
               WHERE shop_id = $1 AND ($2 IS NULL OR date >= $2) AND ($3 IS NULL OR date <= $3)";
    let text = |date: Option<NaiveDate>| date.map(|date| date.to_string());
    let (nombre, montant) =
        sqlx::query_as(sql).bind(shop).bind(text(from)).bind(text(to)).fetch_one(models.pool()).await?;
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
    let rows: Vec<(String, i64, i64)> =
        sqlx::query_as(sql).bind(shop).bind(month(month_of)).fetch_all(models.pool()).await?;
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
    let rows: Vec<(i64, String, i64, i64)> =
        sqlx::query_as(sql).bind(shop).bind(month(month_of)).bind(limit).fetch_all(models.pool()).await?;
    let row = |(article_id, nom, quantite, montant)| TopArticle { article_id, nom, quantite, montant };
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
    let rows: Vec<(String, String)> = sqlx::query_as(sql)
        .bind(shop)
        .bind(prefix.to_owned())
        .bind(format!("{prefix}~"))
        .fetch_all(models.pool())
        .await?;
    Ok(rows.into_iter().collect())
}
