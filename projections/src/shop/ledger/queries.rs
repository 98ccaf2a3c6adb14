//! What the ledger is asked.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use daybook_eventlog::{Position, from_micros};
use uuid::Uuid;

use crate::{ReadModels, ReadModelsError, models::StoredText};

/// Which time a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// When it happened.
    Occurred,
    /// When the log took it.
    Recorded,
}

impl Basis {
    fn column(self) -> &'static str {
        match self {
            Self::Occurred => "occurred_at",
            Self::Recorded => "recorded_at",
        }
    }
}

/// A movement of stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// Of its event.
    pub position: i64,
    /// Place in the event's document, from 1.
    pub line: i64,
    /// Of its event.
    pub event_id: Uuid,
    /// The shop.
    pub shop_id: i64,
    /// The article.
    pub article_id: i64,
    /// RECEIPT, VENTE, RETOUR, ADJUSTMENT, TRANSFER_OUT or TRANSFER_IN.
    pub kind: String,
    /// By how much.
    pub delta: i64,
    /// The stock before.
    pub stock_before: i64,
    /// The stock after.
    pub stock_after: i64,
    /// The paper it goes back to: an invoice number, a delivery note.
    pub document: String,
    /// The terminal that caused it.
    pub terminal: Option<String>,
    /// The user who caused it.
    pub user: Option<String>,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// When the log took it.
    pub recorded_at: DateTime<Utc>,
    /// Why, where somebody said so.
    pub reason: Option<String>,
    /// The position of the movement that it takes back.
    pub reversal_of: Option<i64>,
    /// Where a transfer went to or came from.
    pub other_shop: Option<i64>,
    /// When it was counted, of a correction to what was counted earlier.
    pub counted_at: Option<DateTime<Utc>>,
}

/// Which movements of an article are asked for.
#[derive(Debug, Clone, Default)]
pub struct MovementFilter {
    /// Not before.
    pub from: Option<DateTime<Utc>>,
    /// Before.
    pub to: Option<DateTime<Utc>>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// After this movement: position and line.
    pub after: Option<(i64, i64)>,
}

/// An article's movements in the order of the log.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn movements(
    models: &ReadModels,
    shop: i64,
    article: i64,
    basis: Basis,
    filter: &MovementFilter,
    limit: u32,
) -> Result<Vec<Movement>, ReadModelsError> {
    let time = basis.column();
    let sql = format!(
        "SELECT position, line, event_id, type, delta, stock_before, stock_after, document, terminal, \"user\", \
         occurred_at, recorded_at, reason, reversal_of, other_shop, counted_at FROM stock_movements \
         WHERE shop_id = $1 AND article_id = $2 AND (position, line) > ($3, $4) \
         AND {time} >= $5 AND {time} < $6 AND ($7 IS NULL OR type = $7) ORDER BY position, line LIMIT $8"
    );
    let (position, line) = filter.after.unwrap_or((0, 0));
    let rows: Vec<MovementTuple> = models
        .query(sql)
        .bind(shop)
        .bind(article)
        .bind(position)
        .bind(line)
        .bind(filter.from.map_or(i64::MIN, |from| from.timestamp_micros()))
        .bind(filter.to.map_or(i64::MAX, |to| to.timestamp_micros()))
        .bind(filter.kind.clone())
        .bind(limit)
        .fetch_all()
        .await?;
    Ok(rows.into_iter().map(|row| movement(shop, article, row)).collect())
}

type MovementTuple = (
    i64,
    i64,
    Uuid,
    String,
    i64,
    i64,
    i64,
    StoredText,
    Option<StoredText>,
    Option<StoredText>,
    i64,
    i64,
    Option<StoredText>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

fn movement(shop_id: i64, article_id: i64, row: MovementTuple) -> Movement {
    let (position, line, event_id, kind, delta, stock_before, stock_after, document, terminal, user, ..) = row;
    let (.., occurred_at, recorded_at, reason, reversal_of, other_shop, counted_at) = row;
    Movement {
        position,
        line,
        event_id,
        shop_id,
        article_id,
        kind,
        delta,
        stock_before,
        stock_after,
        document: document.0,
        terminal: terminal.map(String::from),
        user: user.map(String::from),
        occurred_at: from_micros(occurred_at),
        recorded_at: from_micros(recorded_at),
        reason: reason.map(String::from),
        reversal_of,
        other_shop,
        counted_at: counted_at.map(from_micros),
    }
}

/// An article's stock now, and the position of its last movement.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn stock(models: &ReadModels, shop: i64, article: i64) -> Result<(i64, i64), ReadModelsError> {
    let sql = "SELECT stock, position FROM stock WHERE shop_id = $1 AND article_id = $2";
    let row: Option<(i64, i64)> = models.query(sql).bind(shop).bind(article).fetch_optional().await?;
    Ok(row.unwrap_or((0, 0)))
}

/// An article's stock as it was once the log had come to `until`, and the position of its last movement up to there.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn stock_up_to(
    models: &ReadModels,
    shop: i64,
    article: i64,
    until: Position,
) -> Result<(i64, i64), ReadModelsError> {
    let sql = "SELECT stock_after, position FROM stock_movements \
               WHERE shop_id = $1 AND article_id = $2 AND position <= $3 ORDER BY position DESC, line DESC LIMIT 1";
    let until = until.get().cast_signed();
    let row: Option<(i64, i64)> = models.query(sql).bind(shop).bind(article).bind(until).fetch_optional().await?;
    Ok(row.unwrap_or((0, 0)))
}

/// What an article's movements that had happened by `at` add up to, and the position of the last of them.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn stock_occurred_by(
    models: &ReadModels,
    shop: i64,
    article: i64,
    at: DateTime<Utc>,
) -> Result<(i64, i64), ReadModelsError> {
    let sql = "SELECT CAST(coalesce(sum(delta), 0) AS BIGINT), coalesce(max(position), 0) FROM stock_movements \
               WHERE shop_id = $1 AND article_id = $2 AND occurred_at <= $3";
    models.query(sql).bind(shop).bind(article).bind(at.timestamp_micros()).fetch_one().await
}

/// A shop's article and its stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockRow {
    /// The article.
    pub article_id: i64,
    /// Its name.
    pub name: String,
    /// Its stock.
    pub stock: i64,
    /// When the stock last changed; `None` when it never did.
    pub updated_at: Option<DateTime<Utc>>,
}

type StockTuple = (i64, StoredText, i64, Option<i64>);

impl From<StockTuple> for StockRow {
    fn from((article_id, name, stock, updated_at): StockTuple) -> Self {
        Self { article_id, name: name.0, stock, updated_at: updated_at.map(from_micros) }
    }
}

/// A shop's articles after `after`, with their stock, by id.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn stocks(models: &ReadModels, shop: i64, after: i64, limit: u32) -> Result<Vec<StockRow>, ReadModelsError> {
    let sql = "SELECT a.article_id, a.name, coalesce(s.stock, 0), s.updated_at FROM articles a \
               LEFT JOIN stock s ON s.shop_id = a.shop_id AND s.article_id = a.article_id \
               WHERE a.shop_id = $1 AND a.article_id > $2 ORDER BY a.article_id LIMIT $3";
    let rows: Vec<StockTuple> = models.query(sql).bind(shop).bind(after).bind(limit).fetch_all().await?;
    Ok(rows.into_iter().map(StockRow::from).collect())
}

/// A shop's articles after `after`, with their stock as it was once the log had come to `until`, by id: one step in the
/// movements for each article.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn stocks_up_to(
    models: &ReadModels,
    shop: i64,
    after: i64,
    limit: u32,
    until: Position,
) -> Result<Vec<StockRow>, ReadModelsError> {
    let last = "WHERE m.shop_id = $1 AND m.article_id = a.article_id AND m.position <= $4 \
                ORDER BY m.position DESC, m.line DESC LIMIT 1";
    let sql = format!(
        "SELECT a.article_id, a.name, coalesce((SELECT m.stock_after FROM stock_movements m {last}), 0), \
         (SELECT m.recorded_at FROM stock_movements m {last}) FROM articles a \
         WHERE a.shop_id = $1 AND a.article_id > $2 ORDER BY a.article_id LIMIT $3"
    );
    let until = until.get().cast_signed();
    let rows: Vec<StockTuple> = models.query(sql).bind(shop).bind(after).bind(limit).bind(until).fetch_all().await?;
    Ok(rows.into_iter().map(StockRow::from).collect())
}

/// A shop's articles after `after`, at most `limit`, with what their movements that had happened by `at` add up to; and
/// the article after which there are more. A page looks at `MOVEMENTS_A_PAGE` movements, or at those of one article,
/// so it may be shorter than its limit.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn stocks_occurred_by(
    models: &ReadModels,
    shop: i64,
    after: i64,
    limit: u32,
    at: DateTime<Utc>,
) -> Result<(Vec<StockRow>, Option<i64>), ReadModelsError> {
    let sql =
        "SELECT article_id, name FROM articles WHERE shop_id = $1 AND article_id > $2 ORDER BY article_id LIMIT $3";
    let mut articles: Vec<(i64, StoredText)> =
        models.query(sql).bind(shop).bind(after).bind(limit + 1).fetch_all().await?;
    let mut more = articles.len() > limit as usize;
    articles.truncate(limit as usize);
    let Some((last, _)) = articles.last() else { return Ok((Vec::new(), None)) };
    let sql = "SELECT article_id, count(*), CAST(sum(CASE WHEN occurred_at <= $5 THEN delta ELSE 0 END) AS BIGINT), \
               max(CASE WHEN occurred_at <= $5 THEN occurred_at END) FROM \
               (SELECT article_id, delta, occurred_at FROM stock_movements \
               WHERE shop_id = $1 AND article_id > $2 AND article_id <= $3 ORDER BY article_id, position, line LIMIT $4) m \
               GROUP BY article_id ORDER BY article_id";
    let page = models.query(sql).bind(shop).bind(after).bind(*last).bind(MOVEMENTS_A_PAGE).bind(at.timestamp_micros());
    let sums: Vec<(i64, i64, i64, Option<i64>)> = page.fetch_all().await?;
    let looked_at: i64 = sums.iter().map(|(_, count, ..)| count).sum();
    let mut sums: BTreeMap<i64, (i64, Option<i64>)> =
        sums.into_iter().map(|(article, _, stock, at)| (article, (stock, at))).collect();
    if looked_at == MOVEMENTS_A_PAGE
        && let Some((cut, _)) = sums.pop_last()
    {
        // Perhaps not all of its movements were looked at: the next page begins with it, unless it is all there is.
        match articles.partition_point(|(article, _)| *article < cut) {
            0 => {
                more |= articles.len() > 1;
                articles.truncate(1);
                sums.insert(cut, all_of(models, shop, cut, at).await?);
            }
            before => {
                more = true;
                articles.truncate(before);
            }
        }
    }
    let row = |(article_id, name): (i64, StoredText)| {
        let (stock, at) = sums.get(&article_id).copied().unwrap_or((0, None));
        StockRow { article_id, name: name.0, stock, updated_at: at.map(from_micros) }
    };
    let rows: Vec<StockRow> = articles.into_iter().map(row).collect();
    let next = rows.last().filter(|_| more).map(|row| row.article_id);
    Ok((rows, next))
}

/// Movements that one page of stocks by the time of occurrence adds up, unless one article has more.
const MOVEMENTS_A_PAGE: i64 = 100_000;

/// What all movements of one article that had happened by `at` add up to, and when the last of them happened.
async fn all_of(
    models: &ReadModels,
    shop: i64,
    article: i64,
    at: DateTime<Utc>,
) -> Result<(i64, Option<i64>), ReadModelsError> {
    let sql = "SELECT CAST(coalesce(sum(delta), 0) AS BIGINT), max(occurred_at) FROM stock_movements \
               WHERE shop_id = $1 AND article_id = $2 AND occurred_at <= $3";
    models.query(sql).bind(shop).bind(article).bind(at.timestamp_micros()).fetch_one().await
}

/// The balance of each of a shop's articles as the ledger has it up to `position`: the sum of the movements, and the
/// stock that is shown; where that is of a later movement already, the stock after the last one up to `position`.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn balances(
    models: &ReadModels,
    shop: i64,
    position: u64,
) -> Result<BTreeMap<i64, (i64, i64)>, ReadModelsError> {
    // Only where the stock has moved on is the movement looked for: one step in the table, which is kept by its key.
    let sql = "SELECT m.article_id, m.sum, CASE WHEN s.position > $2 \
               THEN (SELECT l.stock_after FROM stock_movements l \
               WHERE l.shop_id = $1 AND l.article_id = m.article_id AND l.position <= $2 \
               ORDER BY l.position DESC, l.line DESC LIMIT 1) \
               ELSE coalesce(s.stock, 0) END FROM \
               (SELECT article_id, CAST(sum(delta) AS BIGINT) AS sum FROM stock_movements \
               WHERE shop_id = $1 AND position <= $2 GROUP BY article_id) m \
               LEFT JOIN stock s ON s.shop_id = $1 AND s.article_id = m.article_id";
    let rows: Vec<(i64, i64, i64)> = models.query(sql).bind(shop).bind(position.cast_signed()).fetch_all().await?;
    Ok(rows.into_iter().map(|(article, sum, stock)| (article, (sum, stock))).collect())
}

/// A crossing into low or negative stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRow {
    /// Of the event that caused it.
    pub position: i64,
    /// The line of that event.
    pub line: i64,
    /// The article.
    pub article_id: i64,
    /// `low` or `negative`.
    pub kind: String,
    /// The stock after the movement.
    pub stock: i64,
    /// What was crossed.
    pub threshold: i64,
    /// When it was recorded.
    pub at: DateTime<Utc>,
}

/// A shop's alerts after (position, line, kind), oldest first.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn alerts(
    models: &ReadModels,
    shop: i64,
    after: (i64, i64, &str),
    limit: u32,
) -> Result<Vec<AlertRow>, ReadModelsError> {
    let sql = "SELECT position, line, article_id, kind, stock, threshold, at FROM stock_alerts \
               WHERE shop_id = $1 AND (position, line, kind) > ($2, $3, $4) ORDER BY position, line, kind LIMIT $5";
    let rows: Vec<(i64, i64, i64, String, i64, i64, i64)> =
        models.query(sql).bind(shop).bind(after.0).bind(after.1).bind(after.2).bind(limit).fetch_all().await?;
    let row = |(position, line, article_id, kind, stock, threshold, at): (i64, i64, i64, String, i64, i64, i64)| {
        AlertRow { position, line, article_id, kind, stock, threshold, at: from_micros(at) }
    };
    Ok(rows.into_iter().map(row).collect())
}
