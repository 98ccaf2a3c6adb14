//! The rules of one shop, apart from the arithmetic of sales and stock.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::command::{CancelSale, ShopCommand, ShopRejection};
use super::events::{
    ArticleAdded, ArticleChanged, CancelledSale, SaleCancelled, ShopChanged, ShopEvent, ShopOpened, StockAdjusted,
    StockReceived, StockTransferredIn, StockTransferredOut, TerminalChanged, TerminalRegistered,
};
use super::numbers::RecentNumbers;
use super::plan::plan_sales;
use super::state::{Article, OpenShop, Settings, Shop, Terminal};
use super::stock::{self, Way};
use super::values::{ArticleId, ShopId};
use crate::decider::Decider;
use crate::instant::to_micros;

/// The rules of one shop.
#[derive(Debug, Clone, Copy)]
pub struct ShopDecider;

impl Decider for ShopDecider {
    type Command = ShopCommand;
    type Event = ShopEvent;
    type State = Shop;
    type Rejection = ShopRejection;

    fn decide(shop: &Shop, command: &ShopCommand) -> Result<Vec<ShopEvent>, ShopRejection> {
        let open = || shop.open().ok_or(ShopRejection::NotOpen);
        match command {
            ShopCommand::OpenShop { .. } if let Some(shop) = shop.open() => {
                Err(ShopRejection::AlreadyOpen { shop_id: shop.shop_id })
            }
            ShopCommand::OpenShop {
                shop_id,
                name,
                currency,
                timezone,
                allow_negative_stock,
                low_stock_threshold,
                require_terminal_keys,
                now,
            } => Ok(vec![ShopEvent::ShopOpened(ShopOpened {
                shop_id: *shop_id,
                name: name.clone(),
                currency: currency.clone(),
                timezone: *timezone,
                allow_negative_stock: *allow_negative_stock,
                low_stock_threshold: *low_stock_threshold,
                require_terminal_keys: *require_terminal_keys,
                opened_at: to_micros(*now),
            })]),
            ShopCommand::ChangeShop {
                name,
                currency,
                timezone,
                allow_negative_stock,
                low_stock_threshold,
                require_terminal_keys,
                now,
            } => {
                let shop = open()?;
                let before = &shop.settings;
                let after = Settings {
                    name: name.as_ref().unwrap_or(&before.name).clone(),
                    currency: currency.as_ref().unwrap_or(&before.currency).clone(),
                    timezone: timezone.unwrap_or(before.timezone),
                    allow_negative_stock: allow_negative_stock.unwrap_or(before.allow_negative_stock),
                    low_stock_threshold: low_stock_threshold.unwrap_or(before.low_stock_threshold),
                    require_terminal_keys: require_terminal_keys.unwrap_or(before.require_terminal_keys),
                };
                changeable(shop, &after)?;
                Ok(if after == *before { Vec::new() } else { vec![changed(shop.shop_id, after, *now)] })
            }
            ShopCommand::RegisterTerminal { serial, name, key, now } => {
                let shop = open()?;
                if shop.active_terminal(serial).is_some() {
                    return Err(ShopRejection::AlreadyRegistered { serial: serial.clone() });
                }
                if shop.settings.require_terminal_keys && key.is_none() {
                    return Err(ShopRejection::KeyRequired { serial: serial.clone() });
                }
                Ok(vec![ShopEvent::TerminalRegistered(TerminalRegistered {
                    shop_id: shop.shop_id,
                    serial: serial.clone(),
                    name: name.clone(),
                    key: key.clone(),
                    registered_at: to_micros(*now),
                })])
            }
            ShopCommand::ChangeTerminal { serial, name, active, now } => {
                let shop = open()?;
                let before = shop.terminals.get(serial);
                let before = before.ok_or_else(|| ShopRejection::UnknownTerminal { serial: serial.clone() })?;
                let name = name.as_ref().unwrap_or(&before.name);
                let active = active.unwrap_or(before.active);
                if (name, active) == (&before.name, before.active) {
                    return Ok(Vec::new());
                }
                if active && !before.active && shop.settings.require_terminal_keys && before.key.is_none() {
                    return Err(ShopRejection::TerminalsWithoutKeys { serials: vec![serial.clone()] });
                }
                Ok(vec![ShopEvent::TerminalChanged(TerminalChanged {
                    shop_id: shop.shop_id,
                    serial: serial.clone(),
                    name: name.clone(),
                    active,
                    changed_at: to_micros(*now),
                })])
            }
            ShopCommand::AddArticle { article_id, name, code, category, price, active, now } => {
                let shop = open()?;
                if shop.articles.contains_key(article_id) {
                    return Err(ShopRejection::ArticleExists { article_id: *article_id });
                }
                Ok(vec![ShopEvent::ArticleAdded(ArticleAdded {
                    shop_id: shop.shop_id,
                    article_id: *article_id,
                    name: name.clone(),
                    code: code.clone(),
                    category: category.clone(),
                    price: *price,
                    active: *active,
                    added_at: to_micros(*now),
                })])
            }
            ShopCommand::ChangeArticle { article_id, name, code, category, price, active, now } => {
                let shop = open()?;
                let before = shop.articles.get(article_id);
                let before = before.ok_or(ShopRejection::UnknownArticle { article_id: *article_id })?;
                let after = Article {
                    name: name.as_ref().unwrap_or(&before.name).clone(),
                    code: code.as_ref().unwrap_or(&before.code).clone(),
                    category: category.as_ref().unwrap_or(&before.category).clone(),
                    price: price.unwrap_or(before.price),
                    active: active.unwrap_or(before.active),
                    stock: before.stock,
                    added_at: before.added_at,
                };
                if after == *before {
                    return Ok(Vec::new());
                }
                Ok(vec![ShopEvent::ArticleChanged(ArticleChanged {
                    shop_id: shop.shop_id,
                    article_id: *article_id,
                    name: after.name,
                    code: after.code,
                    category: after.category,
                    price: after.price,
                    active: after.active,
                    changed_at: to_micros(*now),
                })])
            }
            ShopCommand::ReceiveStock { document, lines, now } => {
                let shop = open()?;
                Ok(vec![ShopEvent::StockReceived(StockReceived {
                    shop_id: shop.shop_id,
                    document: document.clone(),
                    lines: stock::receive(shop, lines)?,
                    received_at: to_micros(*now),
                })])
            }
            ShopCommand::AdjustStock { document, reason, lines, now } => {
                let shop = open()?;
                let lines = stock::adjust(shop, lines)?;
                if lines.is_empty() {
                    return Ok(Vec::new());
                }
                Ok(vec![ShopEvent::StockAdjusted(StockAdjusted {
                    shop_id: shop.shop_id,
                    document: document.clone(),
                    reason: reason.clone(),
                    lines,
                    adjusted_at: to_micros(*now),
                })])
            }
            ShopCommand::TransferOut { to_shop, document, lines, now } => {
                let shop = between(open()?, *to_shop)?;
                Ok(vec![ShopEvent::StockTransferredOut(StockTransferredOut {
                    shop_id: shop.shop_id,
                    to_shop: *to_shop,
                    document: document.clone(),
                    lines: stock::transfer(shop, Way::Out, lines)?,
                    transferred_at: to_micros(*now),
                })])
            }
            ShopCommand::TransferIn { from_shop, document, lines, now } => {
                let shop = between(open()?, *from_shop)?;
                Ok(vec![ShopEvent::StockTransferredIn(StockTransferredIn {
                    shop_id: shop.shop_id,
                    from_shop: *from_shop,
                    document: document.clone(),
                    lines: stock::transfer(shop, Way::In, lines)?,
                    transferred_at: to_micros(*now),
                })])
            }
            ShopCommand::RecordSales(sales) => {
                let shop = open()?;
                selling(shop, &sales.terminal_serial)?;
                Ok(plan_sales(shop, sales).events.into_iter().map(ShopEvent::SaleRecorded).collect())
            }
            ShopCommand::CancelSale(cancel) => {
                let shop = open()?;
                let terminal = selling(shop, &cancel.terminal)?;
                if cancel.already_cancelled {
                    let numero_facture = cancel.numero_facture.clone();
                    return Err(ShopRejection::AlreadyCancelled { numero_facture });
                }
                Ok(vec![cancelled(shop, terminal, cancel)?])
            }
        }
    }

    fn evolve(shop: &mut Shop, event: &ShopEvent) {
        match event {
            ShopEvent::ShopOpened(opened) => *shop = Shop::Open(Box::new(OpenShop::begun_by(opened))),
            ShopEvent::ShopChanged(changed) => with(shop, |shop| {
                shop.settings = Settings {
                    name: changed.name.clone(),
                    currency: changed.currency.clone(),
                    timezone: changed.timezone,
                    allow_negative_stock: changed.allow_negative_stock,
                    low_stock_threshold: changed.low_stock_threshold,
                    require_terminal_keys: changed.require_terminal_keys,
                };
            }),
            ShopEvent::TerminalRegistered(registered) => with(shop, |shop| {
                let terminal = Terminal { name: registered.name.clone(), key: registered.key.clone(), active: true };
                shop.terminals.insert(registered.serial.clone(), terminal);
            }),
            ShopEvent::TerminalChanged(changed) => with(shop, |shop| {
                if let Some(terminal) = shop.terminals.get_mut(&changed.serial) {
                    terminal.name.clone_from(&changed.name);
                    terminal.active = changed.active;
                }
            }),
            ShopEvent::ArticleAdded(added) => with(shop, |shop| {
                let article = Article {
                    name: added.name.clone(),
                    code: added.code.clone(),
                    category: added.category.clone(),
                    price: added.price,
                    active: added.active,
                    stock: 0,
                    added_at: added.added_at,
                };
                shop.articles.insert(added.article_id, article);
            }),
            ShopEvent::ArticleChanged(changed) => with(shop, |shop| {
                if let Some(article) = shop.articles.get_mut(&changed.article_id) {
                    article.name.clone_from(&changed.name);
                    article.code.clone_from(&changed.code);
                    article.category.clone_from(&changed.category);
                    article.price = changed.price;
                    article.active = changed.active;
                }
            }),
            ShopEvent::StockReceived(received) => with(shop, |shop| {
                shop.set_stocks(received.lines.iter().map(|line| (line.article_id, line.stock_after)));
            }),
            ShopEvent::StockAdjusted(adjusted) => with(shop, |shop| {
                shop.set_stocks(adjusted.lines.iter().map(|line| (line.article_id, line.stock_after)));
            }),
            ShopEvent::StockTransferredOut(transferred) => with(shop, |shop| {
                shop.set_stocks(transferred.lines.iter().map(|line| (line.article_id, line.stock_after)));
            }),
            ShopEvent::StockTransferredIn(transferred) => with(shop, |shop| {
                shop.set_stocks(transferred.lines.iter().map(|line| (line.article_id, line.stock_after)));
            }),
            ShopEvent::SaleRecorded(sold) => with(shop, |shop| {
                shop.set_stocks(sold.lines.iter().map(|line| (line.article_id, line.stock_after)));
                shop.recent.remember(sold);
            }),
            // The number stays used: the sale is in the log for ever.
            ShopEvent::SaleCancelled(cancelled) => with(shop, |shop| {
                shop.set_stocks(cancelled.lines.iter().map(|line| (line.article_id, line.stock_after)));
            }),
        }
    }
}

/// Lets an event change the shop; one that nobody opened has nothing to change.
fn with(shop: &mut Shop, change: impl FnOnce(&mut OpenShop)) {
    match shop {
        Shop::Open(shop) => change(shop),
        Shop::Unopened => {}
    }
}

fn changed(shop_id: ShopId, settings: Settings, now: DateTime<Utc>) -> ShopEvent {
    ShopEvent::ShopChanged(ShopChanged {
        shop_id,
        name: settings.name,
        currency: settings.currency,
        timezone: settings.timezone,
        allow_negative_stock: settings.allow_negative_stock,
        low_stock_threshold: settings.low_stock_threshold,
        require_terminal_keys: settings.require_terminal_keys,
        changed_at: to_micros(now),
    })
}

/// Whether the shop's settings may become `after`.
fn changeable(shop: &OpenShop, after: &Settings) -> Result<(), ShopRejection> {
    let before = &shop.settings;
    if after.currency != before.currency && shop.recent.has_sold() {
        return Err(ShopRejection::CurrencyInUse { currency: before.currency.clone() });
    }
    if after.require_terminal_keys && !before.require_terminal_keys {
        let without = shop.terminals.iter().filter(|(_, terminal)| terminal.active && terminal.key.is_none());
        let serials: Vec<String> = without.map(|(serial, _)| serial.clone()).collect();
        if !serials.is_empty() {
            return Err(ShopRejection::TerminalsWithoutKeys { serials });
        }
    }
    Ok(())
}

/// `shop`, if `other` is another one.
fn between(shop: &OpenShop, other: ShopId) -> Result<&OpenShop, ShopRejection> {
    if shop.shop_id == other { Err(ShopRejection::SameShop) } else { Ok(shop) }
}

fn selling<'a>(shop: &'a OpenShop, serial: &str) -> Result<&'a Terminal, ShopRejection> {
    shop.active_terminal(serial).ok_or_else(|| ShopRejection::TerminalNotActive { serial: serial.to_owned() })
}

fn cancelled(shop: &OpenShop, terminal: &Terminal, cancel: &CancelSale) -> Result<ShopEvent, ShopRejection> {
    let sale = &cancel.sale;
    Ok(ShopEvent::SaleCancelled(SaleCancelled {
        shop_id: shop.shop_id,
        timezone: sale.timezone,
        numero_facture: cancel.numero_facture.clone(),
        motif: cancel.motif.clone(),
        terminal: cancel.terminal.clone(),
        terminal_name: terminal.name.clone(),
        sale: CancelledSale {
            position: sale.position,
            sold_at: to_micros(sale.sold_at),
            mode_paiement: sale.mode,
            paye: sale.paye,
            montant_total: sale.montant_total,
        },
        lines: stock::take_back(shop, &sale.lines)?,
        cancelled_at: to_micros(cancel.now),
    }))
}

impl OpenShop {
    fn begun_by(opened: &ShopOpened) -> Self {
        Self {
            shop_id: opened.shop_id,
            settings: Settings {
                name: opened.name.clone(),
                currency: opened.currency.clone(),
                timezone: opened.timezone,
                allow_negative_stock: opened.allow_negative_stock,
                low_stock_threshold: opened.low_stock_threshold,
                require_terminal_keys: opened.require_terminal_keys,
            },
            terminals: BTreeMap::new(),
            articles: BTreeMap::new(),
            recent: RecentNumbers::default(),
        }
    }

    /// The stock after each line of an event, in order.
    fn set_stocks(&mut self, stocks: impl Iterator<Item = (ArticleId, i64)>) {
        for (article_id, stock) in stocks {
            if let Some(article) = self.articles.get_mut(&article_id) {
                article.stock = stock;
            }
        }
    }
}
