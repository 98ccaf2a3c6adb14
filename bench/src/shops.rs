//! Shops to sell in: opened, with tills, articles and more stock than a bench can sell.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use daybook_domain::{
    event::DomainEvent,
    registry::{self, ArticleIdTaken, RegistryEvent, ShopIdTaken, TerminalAssigned},
    shop::{
        ArticleAdded, ArticleId, LINES_MAX, Money, ReceiptLine, ShopEvent, ShopId, ShopOpened, StockReceived,
        TerminalRegistered, stream,
    },
};
use daybook_eventlog::{Append, ExpectedVersion, Log, NewEvent, StreamAppend, StreamId};

use super::{Failed, sessions::metadata};

/// Units of each article at the start; far from zero and from the bound of a stock.
pub(super) const STOCK: i64 = 900_000_000;
pub(super) const ZONE: Tz = Tz::Africa__Kinshasa;
const PRICE_HUNDREDTHS: i64 = 4_000_000;
/// Numbers of articles that each shop has for itself.
const ARTICLES_A_SHOP: i64 = 1_000_000;
/// Events of one append.
const APPEND_EVENTS: usize = 10_000;

/// The article of a shop at `place`, from 0.
pub(super) fn article(shop_id: ShopId, place: i64) -> ArticleId {
    shop_id * ARTICLES_A_SHOP + place
}

/// The serial number of a till.
pub(super) fn serial(till: usize) -> String {
    format!("b{till:015x}")
}

pub(super) fn price() -> Money {
    Money::from_hundredths(PRICE_HUNDREDTHS).unwrap_or_default()
}

/// Opens a shop with `articles` articles in stock; its tills are those with these numbers.
pub(super) async fn open(
    log: &Log,
    shop_id: ShopId,
    articles: i64,
    tills: &[usize],
    at: DateTime<Utc>,
) -> Result<(), Failed> {
    let mut registered = vec![RegistryEvent::ShopIdTaken(ShopIdTaken { shop_id, at })];
    let mut opened = vec![ShopEvent::ShopOpened(ShopOpened {
        shop_id,
        name: format!("Boutique {shop_id}"),
        currency: "CDF".to_owned(),
        timezone: ZONE,
        allow_negative_stock: false,
        low_stock_threshold: 5,
        require_terminal_keys: false,
        opened_at: at,
    })];
    for till in tills {
        let serial = serial(*till);
        registered.push(RegistryEvent::TerminalAssigned(TerminalAssigned { serial: serial.clone(), shop_id, at }));
        opened.push(ShopEvent::TerminalRegistered(TerminalRegistered {
            shop_id,
            serial,
            name: format!("Terminal {till}"),
            key: None,
            registered_at: at,
        }));
    }
    for place in 0..articles {
        let article_id = article(shop_id, place);
        registered.push(RegistryEvent::ArticleIdTaken(ArticleIdTaken { article_id, shop_id, at }));
        opened.push(ShopEvent::ArticleAdded(ArticleAdded {
            shop_id,
            article_id,
            name: format!("Article {place}"),
            code: Some(format!("A-{place}")),
            category: Some(format!("Catégorie {}", place % 20)),
            price: price(),
            active: true,
            added_at: at,
        }));
    }
    let all: Vec<i64> = (0..articles).collect();
    for places in all.chunks(LINES_MAX) {
        let line = |place: &i64| ReceiptLine {
            article_id: article(shop_id, *place),
            quantity: STOCK,
            unit_cost: None,
            stock_before: 0,
            stock_after: STOCK,
            alerts: Vec::new(),
        };
        opened.push(ShopEvent::StockReceived(StockReceived {
            shop_id,
            document: "Ouverture".to_owned(),
            lines: places.iter().map(line).collect(),
            received_at: at,
        }));
    }
    append(log, StreamId::new(registry::STREAM), &registered).await?;
    append(log, StreamId::from(stream(shop_id)), &opened).await
}

/// Appends to one stream, a few thousand at a time.
pub(super) async fn append<E: DomainEvent>(log: &Log, stream: StreamId, events: &[E]) -> Result<(), Failed> {
    let metadata = metadata();
    for events in events.chunks(APPEND_EVENTS) {
        let events = NewEvent::from_domain(events, &metadata);
        let part = StreamAppend { stream: stream.clone(), expected: ExpectedVersion::Any, events };
        log.append(Append { parts: vec![part], remember: None }).await?;
    }
    Ok(())
}
