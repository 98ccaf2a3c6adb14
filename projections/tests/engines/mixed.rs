//! A log of everything that happens, in an order that nobody would think of.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use daybook_domain::{
    book::{BookAdded, BookChanged, BookEvent},
    reading::{
        DeviceType, EndReason, Percent, ReaderEvent, ReaderProfileChanged, ReadingSessionEnded, ReadingSessionStarted,
        ReadingSessionUpdated,
    },
    shop::{
        AdjustmentLine, Alert, AlertKind, ArticleAdded, ArticleChanged, CancelledSale, KeyDigest, Money, PaymentMode,
        ReceiptLine, SaleCancelled, SaleLine, SaleRecorded, ShopChanged, ShopEvent, ShopOpened, StockAdjusted,
        StockReceived, StockTransferredIn, StockTransferredOut, TerminalChanged, TerminalRegistered, TransferLine,
    },
};
use daybook_eventlog::{Append, ExpectedVersion, Log, Metadata, NewEvent, StreamId};
use uuid::Uuid;

pub const READERS: u128 = 4;
pub const SHOPS: i64 = 3;
pub const ARTICLES: i64 = 5;
/// Texts that are sorted or escaped in one way or another.
const TEXTS: [&str; 8] =
    ["a", "B", "Ä", "", "O'Neil \"quoted\" \\ {1,2}", "NULL", "日本\u{1f4d6}\nline", "nul\0byte\u{10ffff}"];
const ZONES: [Tz; 3] = [Tz::UTC, Tz::Europe__Paris, Tz::Pacific__Auckland];

/// Appends `count` events to `log`, always the same ones for the same `seed`.
pub async fn fill(log: &Log, seed: u64, count: usize) {
    let mut dice = Dice { seed, state: seed | 1, begun: HashSet::new() };
    let mut sales: Vec<(u64, SaleRecorded)> = Vec::new();
    let metadata = Metadata { actor: Some("anna".to_owned()), ..Metadata::default() }.encode();
    for _ in 0..count {
        let position = log.head().get() + 1;
        let shop = 1 + dice.below(SHOPS.unsigned_abs()).cast_signed();
        let events = match dice.below(14) {
            0..=2 => NewEvent::from_domain(&[dice.reading()], &metadata),
            3 => NewEvent::from_domain(&[dice.profile()], &metadata),
            4 | 5 => NewEvent::from_domain(&[dice.book()], &metadata),
            6..=9 => NewEvent::from_domain(&[dice.shop(shop)], &metadata),
            10..=12 => {
                let sale = dice.sale(shop, position);
                sales.push((position, sale.clone()));
                NewEvent::from_domain(&[ShopEvent::SaleRecorded(sale)], &metadata)
            }
            _ => match sales.pop() {
                Some((position, sale)) => NewEvent::from_domain(&[cancelled(position, sale)], &metadata),
                None => continue,
            },
        };
        append(log, events).await;
    }
}

async fn append(log: &Log, events: Vec<NewEvent>) {
    // Which stream it is does not matter to any fold.
    let append = Append::to(StreamId::from("mixed-1"), ExpectedVersion::Any, events);
    log.append(append).await.unwrap();
}

/// A sequence of numbers that look random (xorshift).
struct Dice {
    seed: u64,
    state: u64,
    /// The books and sessions that there are: they begin once, and before anything else happens to them.
    begun: HashSet<Uuid>,
}

impl Dice {
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 0
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    fn text(&mut self) -> String {
        self.one(&TEXTS).to_owned()
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| value(self))
    }

    fn id(&mut self, among: u128) -> Uuid {
        Uuid::from_u128((u128::from(self.next()) % among + 1) << 120 | 7)
    }

    /// An id that no other seed has.
    fn id_of_ours(&mut self, among: u128) -> Uuid {
        Uuid::from_u128(self.id(among).as_u128() | u128::from(self.seed) << 8)
    }

    /// In the days around a change of the clocks in Paris.
    fn time(&mut self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(1_774_600_000_000_000 + self.below(300_000_000_000).cast_signed()).unwrap()
    }

    fn percent(&mut self) -> Percent {
        Percent::new(u8::try_from(self.below(101)).unwrap()).unwrap()
    }

    fn money(&mut self) -> Money {
        Money::from_hundredths(self.below(9_999_999).cast_signed()).unwrap()
    }

    fn device(&mut self) -> Option<DeviceType> {
        self.one(&[None, Some(DeviceType::Mobile), Some(DeviceType::Tablet), Some(DeviceType::Desktop)])
    }

    fn reading(&mut self) -> ReaderEvent {
        let (session_id, user_id, book_id) = (self.id_of_ours(20), self.id(READERS), self.id_of_ours(6));
        let (timezone, device_type) = (self.one(&ZONES), self.device());
        let is_new = self.begun.insert(session_id);
        match self.below(3) {
            0 | 1 if is_new => ReaderEvent::ReadingSessionStarted(ReadingSessionStarted {
                session_id,
                user_id,
                book_id,
                started_at: self.time(),
                start_position: self.percent(),
                device_type,
                timezone,
            }),
            0 | 1 => ReaderEvent::ReadingSessionUpdated(ReadingSessionUpdated {
                session_id,
                position: self.percent(),
                reported_at: self.time(),
            }),
            _ => {
                let started_at = self.time();
                let minutes = self.below(600).cast_signed();
                ReaderEvent::ReadingSessionEnded(ReadingSessionEnded {
                    session_id,
                    user_id,
                    book_id,
                    started_at,
                    ended_at: started_at + chrono::Duration::minutes(minutes),
                    start_position: self.percent(),
                    end_position: self.percent(),
                    device_type,
                    timezone,
                    reason: self.one(&[EndReason::Requested, EndReason::Idle, EndReason::Offline]),
                    client_id: self.maybe(|dice| dice.id(9)),
                })
            }
        }
    }

    fn profile(&mut self) -> ReaderEvent {
        ReaderEvent::ReaderProfileChanged(ReaderProfileChanged {
            user_id: self.id(READERS),
            timezone: self.maybe(|dice| dice.one(&ZONES)),
            display_name: self.maybe(Self::text),
            changed_at: self.time(),
        })
    }

    fn book(&mut self) -> BookEvent {
        let (book_id, title, shared) = (self.id_of_ours(6), self.text(), self.flag());
        let total_pages = self.maybe(|dice| u32::try_from(dice.below(900)).unwrap());
        if self.begun.insert(book_id) {
            let (owner, added_at) = (self.id(READERS), self.time());
            BookEvent::BookAdded(BookAdded { book_id, owner, title, total_pages, shared, added_at })
        } else {
            BookEvent::BookChanged(BookChanged { book_id, title, total_pages, shared, changed_at: self.time() })
        }
    }

    fn article(&mut self) -> i64 {
        1 + self.below(ARTICLES.unsigned_abs()).cast_signed()
    }

    fn alerts(&mut self) -> Vec<Alert> {
        let low = Alert { kind: AlertKind::Low, threshold: 5 };
        let negative = Alert { kind: AlertKind::Negative, threshold: 0 };
        match self.below(4) {
            0 => vec![low],
            1 => vec![low, negative],
            _ => vec![],
        }
    }

    fn moved(&mut self) -> (i64, i64, i64, i64) {
        let (quantity, before) = (self.below(100).cast_signed(), self.below(1_000).cast_signed() - 500);
        (self.article(), quantity, before, before + quantity)
    }

    fn sold(&mut self) -> SaleLine {
        let (article_id, quantite, stock_after, stock_before) = self.moved();
        SaleLine {
            article_id,
            article_nom: self.text(),
            article_code: self.maybe(Self::text),
            quantite,
            prix_unitaire: self.money(),
            sous_total: self.money(),
            stock_before,
            stock_after,
            alerts: self.alerts(),
        }
    }

    fn sale(&mut self, shop_id: i64, position: u64) -> SaleRecorded {
        SaleRecorded {
            shop_id,
            timezone: self.one(&ZONES),
            terminal: self.text(),
            terminal_name: self.text(),
            numero_facture: format!("{}-{position}", self.one(&["FAC", "fac", "Fäc"])),
            number_generated: self.flag(),
            mode_paiement: self.one(&[PaymentMode::Cash, PaymentMode::MobileMoney, PaymentMode::Carte]),
            paye: self.below(4) > 0,
            montant_total: self.money(),
            sold_at: self.time(),
            date_replaced: None,
            date_sent: None,
            fingerprint: self.text(),
            lines: (0..1 + self.below(3)).map(|_| self.sold()).collect(),
        }
    }

    fn shop(&mut self, shop_id: i64) -> ShopEvent {
        let (name, serial, timezone) = (self.text(), self.text(), self.one(&ZONES));
        let (article_id, code, category) = (self.article(), self.maybe(Self::text), self.maybe(Self::text));
        let (price, active, at) = (self.money(), self.flag(), self.time());
        let (currency, allow_negative_stock, low_stock_threshold) = ("MGA".to_owned(), self.flag(), 5);
        let document = self.text();
        let (article, quantity, stock_before, stock_after) = self.moved();
        let transferred = TransferLine {
            article_id: article,
            other_article_id: article_id,
            quantity,
            stock_before,
            stock_after,
            alerts: self.alerts(),
        };
        match self.below(10) {
            0 => ShopEvent::ShopOpened(ShopOpened {
                shop_id,
                name,
                currency,
                timezone,
                allow_negative_stock,
                low_stock_threshold,
                require_terminal_keys: active,
                opened_at: at,
            }),
            1 => ShopEvent::ShopChanged(ShopChanged {
                shop_id,
                name,
                currency,
                timezone,
                allow_negative_stock,
                low_stock_threshold,
                require_terminal_keys: active,
                changed_at: at,
            }),
            2 => ShopEvent::TerminalRegistered(TerminalRegistered {
                shop_id,
                serial,
                name,
                key: active.then(|| KeyDigest { salt: "aa".to_owned(), digest: "bb".to_owned() }),
                registered_at: at,
            }),
            3 => ShopEvent::TerminalChanged(TerminalChanged { shop_id, serial, name, active, changed_at: at }),
            4 => {
                let added_at = at;
                ShopEvent::ArticleAdded(ArticleAdded {
                    shop_id,
                    article_id,
                    name,
                    code,
                    category,
                    price,
                    active,
                    added_at,
                })
            }
            5 => {
                let changed_at = at;
                let changed = ArticleChanged { shop_id, article_id, name, code, category, price, active, changed_at };
                ShopEvent::ArticleChanged(changed)
            }
            6 => ShopEvent::StockReceived(StockReceived {
                shop_id,
                document,
                lines: vec![ReceiptLine {
                    article_id,
                    quantity,
                    unit_cost: self.maybe(Self::money),
                    stock_before,
                    stock_after,
                    alerts: self.alerts(),
                }],
                received_at: at,
            }),
            7 => ShopEvent::StockAdjusted(StockAdjusted {
                shop_id,
                document,
                reason: name,
                lines: vec![AdjustmentLine {
                    article_id,
                    delta: quantity,
                    counted: self.maybe(|_| stock_after),
                    counted_at: self.maybe(|_| at),
                    stock_before,
                    stock_after,
                    alerts: self.alerts(),
                }],
                adjusted_at: at,
            }),
            8 => {
                let (to_shop, lines) = (shop_id + 1, vec![transferred]);
                ShopEvent::StockTransferredOut(StockTransferredOut {
                    shop_id,
                    to_shop,
                    document,
                    lines,
                    transferred_at: at,
                })
            }
            _ => {
                let (from_shop, lines) = (shop_id + 1, vec![transferred]);
                ShopEvent::StockTransferredIn(StockTransferredIn {
                    shop_id,
                    from_shop,
                    document,
                    lines,
                    transferred_at: at,
                })
            }
        }
    }
}

fn cancelled(position: u64, sale: SaleRecorded) -> ShopEvent {
    ShopEvent::SaleCancelled(SaleCancelled {
        shop_id: sale.shop_id,
        timezone: sale.timezone,
        numero_facture: sale.numero_facture,
        motif: "wrong".to_owned(),
        terminal: sale.terminal,
        terminal_name: sale.terminal_name,
        sale: CancelledSale {
            position,
            sold_at: sale.sold_at,
            mode_paiement: sale.mode_paiement,
            paye: sale.paye,
            montant_total: sale.montant_total,
        },
        lines: sale.lines,
        cancelled_at: sale.sold_at,
    })
}
