//! Shops, terminals and articles.

use std::collections::BTreeMap;

use daybook_domain::{
    event::{Event, Stored},
    shop::{ArticleAdded, ArticleChanged, ShopChanged, ShopEvent, ShopOpened, TerminalChanged, TerminalRegistered},
};

use crate::{
    Changes, Decoded, FoldError, Projection, ReadModels, ReadModelsError,
    models::StoredText,
    table::{Column, Table, Value},
};

/// `shops`, `terminals`, `articles`.
pub struct Shops;

/// The projection's name.
pub const NAME: &str = "shops";

const SHOPS: Table = Table {
    name: "shops",
    key: 1,
    columns: &[
        Column::new("shop_id"),
        Column::new("name"),
        Column::new("currency"),
        Column::new("timezone"),
        Column::new("allow_negative_stock"),
        Column::new("low_stock_threshold"),
        Column::new("require_terminal_keys"),
    ],
};

const TERMINALS: Table = Table {
    name: "terminals",
    key: 2,
    columns: &[
        Column::new("shop_id"),
        Column::new("serial"),
        Column::new("name"),
        Column::new("active"),
        Column::new("has_key"),
    ],
};

const ARTICLES: Table = Table {
    name: "articles",
    key: 2,
    columns: &[
        Column::new("shop_id"),
        Column::new("article_id"),
        Column::new("name"),
        Column::new("code"),
        Column::new("category"),
        Column::new("price"),
        Column::new("active"),
    ],
};

impl Projection for Shops {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        2
    }

    fn tables(&self) -> &'static [&'static Table] {
        &[&SHOPS, &TERMINALS, &ARTICLES]
    }

    fn schema(&self) -> &'static str {
        include_str!("../../../migrations/read_models/shops.sql")
    }

    fn takes(&self, event_type: &str) -> bool {
        [
            ShopOpened::TYPE,
            ShopChanged::TYPE,
            TerminalRegistered::TYPE,
            TerminalChanged::TYPE,
            ArticleAdded::TYPE,
            ArticleChanged::TYPE,
        ]
        .contains(&event_type)
    }

    fn fold(&self, events: &[Decoded]) -> Result<Changes, FoldError> {
        let mut shops = BTreeMap::new();
        let mut terminals: BTreeMap<(i64, &str), [Value; 5]> = BTreeMap::new();
        let mut terminals_changed: BTreeMap<(i64, &str), [Value; 4]> = BTreeMap::new();
        let mut articles = BTreeMap::new();
        for decoded in events {
            let Some(Event::Shop(event)) = &decoded.event else { continue };
            match event {
                ShopEvent::ShopOpened(shop) => {
                    let row = shop_row(
                        shop.shop_id,
                        &shop.name,
                        &shop.currency,
                        shop.timezone.name(),
                        shop.allow_negative_stock,
                        shop.low_stock_threshold,
                        shop.require_terminal_keys,
                    );
                    shops.insert(shop.shop_id, row);
                }
                ShopEvent::ShopChanged(shop) => {
                    let row = shop_row(
                        shop.shop_id,
                        &shop.name,
                        &shop.currency,
                        shop.timezone.name(),
                        shop.allow_negative_stock,
                        shop.low_stock_threshold,
                        shop.require_terminal_keys,
                    );
                    shops.insert(shop.shop_id, row);
                }
                ShopEvent::TerminalRegistered(terminal) => {
                    let key = (terminal.shop_id, terminal.serial.as_str());
                    terminals_changed.remove(&key);
                    let row = [
                        Value::Int(terminal.shop_id),
                        Value::Text(terminal.serial.clone()),
                        Value::Text(terminal.name.clone()),
                        Value::Int(1),
                        Value::Int(i64::from(terminal.key.is_some())),
                    ];
                    terminals.insert(key, row);
                }
                ShopEvent::TerminalChanged(terminal) => {
                    let key = (terminal.shop_id, terminal.serial.as_str());
                    let (name, active) = (Value::Text(terminal.name.clone()), Value::Int(i64::from(terminal.active)));
                    match terminals.get_mut(&key) {
                        Some(row) => [row[2], row[3]] = [name, active],
                        None => {
                            let serial = Value::Text(terminal.serial.clone());
                            terminals_changed.insert(key, [Value::Int(terminal.shop_id), serial, name, active]);
                        }
                    }
                }
                ShopEvent::ArticleAdded(article) => {
                    let row = article_row(
                        (article.shop_id, article.article_id),
                        &article.name,
                        article.code.as_deref(),
                        article.category.as_deref(),
                        article.price.hundredths(),
                        article.active,
                    );
                    articles.insert((article.shop_id, article.article_id), row);
                }
                ShopEvent::ArticleChanged(article) => {
                    let row = article_row(
                        (article.shop_id, article.article_id),
                        &article.name,
                        article.code.as_deref(),
                        article.category.as_deref(),
                        article.price.hundredths(),
                        article.active,
                    );
                    articles.insert((article.shop_id, article.article_id), row);
                }
                ShopEvent::StockReceived(_)
                | ShopEvent::StockAdjusted(_)
                | ShopEvent::StockTransferredOut(_)
                | ShopEvent::StockTransferredIn(_)
                | ShopEvent::SaleRecorded(_)
                | ShopEvent::SaleCancelled(_) => {}
            }
        }
        let mut changes = Changes::default();
        changes.upsert(&SHOPS, shops.into_values());
        changes.upsert(&TERMINALS, terminals.into_values());
        changes.update(&TERMINALS, &["name", "active"], terminals_changed.into_values());
        changes.upsert(&ARTICLES, articles.into_values());
        Ok(changes)
    }
}

fn shop_row(
    id: i64,
    name: &str,
    currency: &str,
    zone: &'static str,
    negative: bool,
    threshold: i64,
    keys: bool,
) -> [Value; 7] {
    [
        Value::Int(id),
        Value::Text(name.to_owned()),
        Value::Text(currency.to_owned()),
        Value::Word(zone),
        Value::Int(i64::from(negative)),
        Value::Int(threshold),
        Value::Int(i64::from(keys)),
    ]
}

fn article_row(
    (shop, id): (i64, i64),
    name: &str,
    code: Option<&str>,
    category: Option<&str>,
    price: i64,
    active: bool,
) -> [Value; 7] {
    let text = |text: Option<&str>| Value::from(text.map(|text| Value::Text(text.to_owned())));
    [
        Value::Int(shop),
        Value::Int(id),
        Value::Text(name.to_owned()),
        text(code),
        text(category),
        Value::Int(price),
        Value::Int(i64::from(active)),
    ]
}

/// A shop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShopRow {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The currency of its prices.
    pub currency: String,
    /// IANA zone of its days.
    pub timezone: String,
    /// Sales may take stock below zero.
    pub allow_negative_stock: bool,
    /// At or under this an article's stock is low.
    pub low_stock_threshold: i64,
    /// Every terminal needs a key.
    pub require_terminal_keys: bool,
}

type ShopTuple = (i64, StoredText, StoredText, String, i64, i64, i64);

impl From<ShopTuple> for ShopRow {
    fn from((id, name, currency, timezone, negative, low_stock_threshold, keys): ShopTuple) -> Self {
        Self {
            id,
            name: name.0,
            currency: currency.0,
            timezone,
            allow_negative_stock: negative != 0,
            low_stock_threshold,
            require_terminal_keys: keys != 0,
        }
    }
}

/// A terminal of a shop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TerminalRow {
    /// Its serial number.
    pub serial: String,
    /// Its name.
    pub name: String,
    /// It may send sales.
    pub active: bool,
    /// It has to show a key.
    pub has_key: bool,
}

/// An article of a shop, with its stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArticleRow {
    /// Its id, unique over all shops.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its code.
    pub code: Option<String>,
    /// Its category.
    pub category: Option<String>,
    /// In hundredths.
    pub price: i64,
    /// It may be sold.
    pub active: bool,
    /// The present stock.
    pub stock: i64,
}

type ArticleTuple = (i64, StoredText, Option<StoredText>, Option<StoredText>, i64, i64, i64);

impl From<ArticleTuple> for ArticleRow {
    fn from((id, name, code, category, price, active, stock): ArticleTuple) -> Self {
        let (code, category) = (code.map(String::from), category.map(String::from));
        Self { id, name: name.0, code, category, price, active: active != 0, stock }
    }
}

const SHOP: &str = "SELECT shop_id, name, currency, timezone, allow_negative_stock, low_stock_threshold, \
                    require_terminal_keys FROM shops";
const ARTICLE: &str = "SELECT a.article_id, a.name, a.code, a.category, a.price, a.active, coalesce(s.stock, 0) \
                       FROM articles a LEFT JOIN stock s ON s.shop_id = a.shop_id AND s.article_id = a.article_id";

/// One shop.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn shop(models: &ReadModels, id: i64) -> Result<Option<ShopRow>, ReadModelsError> {
    let sql = format!("{SHOP} WHERE shop_id = $1");
    let row: Option<ShopTuple> = models.query(sql).bind(id).fetch_optional().await?;
    Ok(row.map(ShopRow::from))
}

/// Shops by id, and how many there are.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn shops(models: &ReadModels, skip: u64, limit: u32) -> Result<(Vec<ShopRow>, u64), ReadModelsError> {
    let sql = format!("{SHOP} ORDER BY shop_id LIMIT $1 OFFSET $2");
    let page = models.query(sql).bind(limit).bind(skip.cast_signed());
    let (rows, total) = page.fetch_page::<ShopTuple>("SELECT count(*) FROM shops").await?;
    Ok((rows.into_iter().map(ShopRow::from).collect(), total))
}

/// A shop's terminals by serial number, and how many there are.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn terminals(
    models: &ReadModels,
    shop: i64,
    skip: u64,
    limit: u32,
) -> Result<(Vec<TerminalRow>, u64), ReadModelsError> {
    let sql =
        "SELECT serial, name, active, has_key FROM terminals WHERE shop_id = $1 ORDER BY serial LIMIT $2 OFFSET $3";
    let page = models.query(sql).bind(shop).bind(limit).bind(skip.cast_signed());
    let (rows, total) = page.fetch_page("SELECT count(*) FROM terminals WHERE shop_id = $1").await?;
    let row = |(serial, name, active, has_key): (StoredText, StoredText, i64, i64)| TerminalRow {
        serial: serial.0,
        name: name.0,
        active: active != 0,
        has_key: has_key != 0,
    };
    Ok((rows.into_iter().map(row).collect(), total))
}

/// A shop's articles by id, and how many there are.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn articles(
    models: &ReadModels,
    shop: i64,
    skip: u64,
    limit: u32,
) -> Result<(Vec<ArticleRow>, u64), ReadModelsError> {
    let sql = format!("{ARTICLE} WHERE a.shop_id = $1 ORDER BY a.article_id LIMIT $2 OFFSET $3");
    let page = models.query(sql).bind(shop).bind(limit).bind(skip.cast_signed());
    let (rows, total) = page.fetch_page::<ArticleTuple>("SELECT count(*) FROM articles WHERE shop_id = $1").await?;
    Ok((rows.into_iter().map(ArticleRow::from).collect(), total))
}

/// What a shop's terminals may sell, by id.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn articles_on_sale(models: &ReadModels, shop: i64) -> Result<Vec<ArticleRow>, ReadModelsError> {
    let sql = format!("{ARTICLE} WHERE a.shop_id = $1 AND a.active = 1 ORDER BY a.article_id");
    let rows: Vec<ArticleTuple> = models.query(sql).bind(shop).fetch_all().await?;
    Ok(rows.into_iter().map(ArticleRow::from).collect())
}

/// One article of a shop.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn article(models: &ReadModels, shop: i64, id: i64) -> Result<Option<ArticleRow>, ReadModelsError> {
    let sql = format!("{ARTICLE} WHERE a.shop_id = $1 AND a.article_id = $2");
    let row: Option<ArticleTuple> = models.query(sql).bind(shop).bind(id).fetch_optional().await?;
    Ok(row.map(ArticleRow::from))
}
