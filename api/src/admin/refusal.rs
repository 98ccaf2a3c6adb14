//! What a decision's no is answered.

use daybook_domain::registry::RegistryRejection;
use daybook_domain::shop::{LINES_MAX, QUANTITY_MAX, STOCK_MAX, ShopRejection};
use daybook_eventlog::ExecuteError;

use crate::http::{Problem, instant, write};

/// What a failed write to one shop is answered.
pub fn problem(error: ExecuteError<ShopRejection>) -> Problem {
    write::problem(error, |rejection| refused(&rejection, "quantity"))
}

/// What a shop's no is answered. `amount` is the field of a line that says how much.
pub fn refused(rejection: &ShopRejection, amount: &str) -> Problem {
    match rejection {
        ShopRejection::NotOpen => no_shop(),
        ShopRejection::UnknownTerminal { .. } => no_terminal(),
        ShopRejection::UnknownArticle { .. } => no_article(),
        ShopRejection::AlreadyOpen { shop_id } => taken(*shop_id),
        ShopRejection::ArticleExists { article_id } => taken(*article_id),
        ShopRejection::AlreadyRegistered { serial } => {
            Problem::conflict(format!("The terminal {serial} is registered and active in this shop already."))
        }
        ShopRejection::TerminalNotActive { serial } => {
            Problem::conflict(format!("The terminal {serial} is not active in this shop."))
        }
        ShopRejection::NoLines | ShopRejection::TooManyLines { .. } => {
            Problem::bad_field("lines", format!("must be a list of 1 to {LINES_MAX} items"))
        }
        ShopRejection::LineArticle { line, article_id } => Problem::bad_field(
            of_line(*line, "article_id"),
            format!("is {article_id}: the shop has no such article, or it is not active"),
        ),
        ShopRejection::LineQuantity { line, .. } => {
            Problem::bad_field(of_line(*line, amount), format!("must be a whole number from 1 to {QUANTITY_MAX}"))
        }
        ShopRejection::StockOutOfRange { line, article_id } => Problem::bad_field(
            of_line(*line, amount),
            format!("would take the stock of the article {article_id} farther than {STOCK_MAX} from zero"),
        ),
        ShopRejection::BelowZero { line, article_id, stock } => Problem::conflict(format!(
            "{}: the stock of the article {article_id} is {stock} there and would go below zero. Nothing was written.",
            line_name(*line)
        )),
        ShopRejection::CountedBeforeAdded { line, article_id, added_at } => Problem::bad_field(
            of_line(*line, "counted_at"),
            format!("is before the article {article_id} was added, at {}", instant::text(*added_at)),
        ),
        ShopRejection::CurrencyInUse { currency } => Problem::conflict(format!(
            "The shop has sold in {currency} already, so its currency cannot change: open another shop."
        )),
        ShopRejection::KeyRequired { .. } => Problem::bad_field("key", "is missing: the shop requires one"),
        ShopRejection::TerminalsWithoutKeys { serials } => Problem::conflict(format!(
            "The shop cannot require keys of its terminals while active ones have none ({}): deactivate them, and \
             register them again with a key.",
            listed(serials)
        )),
        ShopRejection::SameShop => Problem::bad_field("to_shop", "must be another shop"),
        ShopRejection::AlreadyCancelled { numero_facture } => {
            Problem::conflict(format!("The sale {numero_facture} was cancelled already."))
        }
    }
}

/// What the register's no is answered.
pub fn unregistered(rejection: &RegistryRejection) -> Problem {
    match rejection {
        RegistryRejection::IdTaken { id } => taken(*id),
        RegistryRejection::IdBelowOne { .. } => Problem::bad_field("id", "must be at least 1"),
        RegistryRejection::NoIdLeft => {
            Problem::conflict("The highest id there can be is taken, so that none comes after it: give a free one.")
        }
        RegistryRejection::ActiveElsewhere { serial, shop_id } => Problem::conflict(format!(
            "The terminal {serial} is active in the shop {shop_id}: deactivate it there first."
        )),
    }
}

pub fn no_shop() -> Problem {
    Problem::not_found("There is no such shop.")
}

pub fn no_terminal() -> Problem {
    Problem::not_found("The shop has no such terminal.")
}

pub fn no_article() -> Problem {
    Problem::not_found("The shop has no such article.")
}

pub fn no_document() -> Problem {
    Problem::not_found("The shop has no such document.")
}

/// The field `name` of a line that counts from 1, as it was sent: `lines[0].name`.
pub fn of_line(line: usize, name: &str) -> String {
    format!("{}.{name}", line_name(line))
}

/// The first few.
fn listed(serials: &[String]) -> String {
    const LISTED_MAX: usize = 10;
    let more = serials.len().saturating_sub(LISTED_MAX);
    let first = serials.iter().take(LISTED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

fn line_name(line: usize) -> String {
    format!("lines[{}]", line.saturating_sub(1))
}

fn taken(id: i64) -> Problem {
    Problem::conflict(format!("The id {id} is taken: give another one, or none."))
}
