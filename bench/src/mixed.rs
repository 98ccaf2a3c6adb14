//! The log of a server in use: readers and shops, event by event.

use std::{collections::VecDeque, sync::Arc};

use daybook_domain::{
    event::DomainEvent,
    shop::{SaleRecorded, ShopEvent, ShopId},
};
use daybook_eventlog::{Append, ExpectedVersion, Log, NewEvent, StreamAppend, StreamId};
use indicatif::ProgressBar;

use super::{Failed, dice::Dice, sessions::metadata, trade::Trade, years::Years};

/// Shops, each with the tills of [`Trade`].
pub(super) const SHOPS: ShopId = 4;
/// Articles of each shop.
pub(super) const ARTICLES: i64 = 1_000;
/// Events of one append.
const APPEND_EVENTS: u64 = 10_000;
/// Of a hundred events, so many are of readers; of the others, so many of a hundred are receipts and cancellations,
/// and the rest are sales.
const OF_READERS: i64 = 50;
const RECEIPTS: i64 = 3;
const CANCELLATIONS: i64 = 3;
const RECEIPT_LINES: i64 = 10;
/// Sales of a shop after which one is no longer cancelled.
const SALES_AGO_MAX: usize = 200;

/// Writes until the log has `events` events.
pub(super) async fn write(log: &Log, events: u64, readers: u32, bar: &ProgressBar) -> Result<(), Failed> {
    let mut mixed = Mixed::open(log, readers).await?;
    let metadata = metadata();
    while log.head().get() < events {
        let head = log.head().get();
        let next = (head + 1..=events.min(head + APPEND_EVENTS)).filter_map(|position| mixed.next(position, &metadata));
        let part = |(stream, events)| StreamAppend { stream, expected: ExpectedVersion::Any, events };
        log.append(Append { parts: next.map(part).collect(), remember: None }).await?;
        bar.set_position(log.head().get());
    }
    Ok(())
}

struct Mixed {
    years: Years,
    shops: Vec<Shop>,
    dice: Dice,
}

struct Shop {
    trade: Trade,
    /// Sales that may still be cancelled, with their positions.
    sold: VecDeque<(u64, SaleRecorded)>,
}

impl Mixed {
    async fn open(log: &Log, readers: u32) -> Result<Self, Failed> {
        let mut shops = Vec::new();
        for shop_id in 1..=SHOPS {
            shops.push(Shop { trade: Trade::open(log, shop_id, ARTICLES).await?, sold: VecDeque::new() });
        }
        Ok(Self { years: Years::new(readers), shops, dice: Dice::new(7) })
    }

    /// The event at `position`.
    fn next(&mut self, position: u64, metadata: &Arc<str>) -> Option<(StreamId, Vec<NewEvent>)> {
        if self.dice.between(0, 100) < OF_READERS {
            let (stream, event) = self.years.next()?;
            return Some((stream, encoded(event, metadata)));
        }
        let place = usize::try_from(self.dice.between(0, SHOPS)).ok()?;
        let shop = self.shops.get_mut(place)?;
        let event = shop.next(position, &mut self.dice);
        Some((shop.trade.stream(), encoded(event, metadata)))
    }
}

impl Shop {
    fn next(&mut self, position: u64, dice: &mut Dice) -> ShopEvent {
        let what = dice.between(0, 100);
        if what < RECEIPTS {
            return self.trade.delivery(RECEIPT_LINES);
        }
        if what < RECEIPTS + CANCELLATIONS {
            let ago = usize::try_from(dice.between(0, SALES_AGO_MAX as i64)).unwrap_or(0);
            if let Some((position, sale)) = self.sold.remove(ago) {
                return self.trade.cancellation(position, sale);
            }
        }
        let sale = self.trade.next_sale();
        self.sold.push_front((position, sale.clone()));
        self.sold.truncate(SALES_AGO_MAX);
        ShopEvent::SaleRecorded(sale)
    }
}

fn encoded<E: DomainEvent>(event: E, metadata: &Arc<str>) -> Vec<NewEvent> {
    NewEvent::from_domain(&[event], metadata)
}
