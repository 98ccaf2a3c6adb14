//! Decisions that need two streams at once: the register and a shop, or two shops. Both are locked, both decide, and
//! what both decided is written together or not at all.
//!
//! Locks are taken in one order everywhere, so that no two requests wait for each other: the register before a shop, a
//! shop with a lower number before one with a higher.

use std::sync::Arc;

use daybook_domain::decider::Decider as _;
use daybook_domain::registry::{self, RegistryCommand, RegistryDecider, RegistryEvent, RegistryRejection};
use daybook_domain::shop::{self, ShopCommand, ShopDecider, ShopId, ShopRejection};
use daybook_eventlog::{Answer, Cause, DecideError, Decided, ExecuteError, Executed, Render, StreamId, settle};

use super::refusal;
use super::values::ID_MAX;
use crate::app::App;
use crate::http::{Problem, write};

/// Why one of the two said no.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the register refused")]
    Register(#[source] RegistryRejection),
    #[error("the shop refused")]
    Shop(#[source] ShopRejection),
    #[error("the receiving shop refused")]
    Receiver(#[source] ShopRejection),
}

/// Asks the register, then the shop with what the register has decided; the answer is made from the shop.
pub async fn with_register(
    app: &App,
    ask: &RegistryCommand,
    then: impl Fn(&[RegistryEvent]) -> Result<(ShopId, ShopCommand), RegistryRejection> + Sync,
    cause: &Cause,
    answer: impl Fn(Decided<'_, ShopDecider>) -> Answer + Send + Sync + 'static,
) -> Result<Executed, Problem> {
    let (register, then) = (StreamId::new(registry::STREAM), &then);
    let answer: &Render<ShopDecider> = &(Arc::new(answer) as _);
    let attempt = || async {
        let mut register = app.registry.lock(&register).await.map_err(|error| widened(error, Refused::Register))?;
        let refused = |rejection| ExecuteError::Rejected(Refused::Register(rejection));
        let registered = RegistryDecider::decide(register.state(), ask).map_err(refused)?;
        let (shop_id, command) = then(&registered).map_err(refused)?;
        let mut shop = app.shops.lock(&stream(shop_id)).await.map_err(|error| widened(error, Refused::Shop))?;
        let events = ShopDecider::decide(shop.state(), &command)
            .map_err(|rejection| ExecuteError::Rejected(Refused::Shop(rejection)))?;
        let written = shop.commit_with(events, (&mut register, registered), cause, Some(answer)).await;
        written.map_err(|error| ExecuteError::Append(error).into())
    };
    settle(&app.log, cause, attempt).await.map_err(failed)
}

/// The number that the register gave.
pub fn number(registered: &[RegistryEvent]) -> Result<i64, RegistryRejection> {
    let number = registered.iter().find_map(|event| match event {
        RegistryEvent::ShopIdTaken(taken) => Some(taken.shop_id),
        RegistryEvent::ArticleIdTaken(taken) => Some(taken.article_id),
        RegistryEvent::TerminalAssigned(_) | RegistryEvent::TerminalReleased(_) => None,
    });
    number.filter(|number| *number <= ID_MAX).ok_or(RegistryRejection::NoIdLeft)
}

/// Asks two different shops; the answer is made from the first.
pub async fn between(
    app: &App,
    (from, send): (ShopId, &ShopCommand),
    (to, receive): (ShopId, &ShopCommand),
    cause: &Cause,
    answer: impl Fn(Decided<'_, ShopDecider>) -> Answer + Send + Sync + 'static,
) -> Result<Executed, Problem> {
    // A shop's lock cannot be had twice.
    if from == to {
        return Err(refusal::refused(&ShopRejection::SameShop, "quantity"));
    }
    let answer: &Render<ShopDecider> = &(Arc::new(answer) as _);
    let attempt = || async {
        let lock =
            async |shop_id| app.shops.lock(&stream(shop_id)).await.map_err(|error| widened(error, Refused::Shop));
        let lower = lock(from.min(to)).await?;
        let higher = lock(from.max(to)).await?;
        let (mut sender, mut receiver) = if from < to { (lower, higher) } else { (higher, lower) };
        // Before what is wrong with the lines, for they cannot be right then.
        if sender.state().open().is_some() && receiver.state().open().is_none() {
            return Err(ExecuteError::Rejected(Refused::Receiver(ShopRejection::NotOpen)).into());
        }
        let sent = ShopDecider::decide(sender.state(), send)
            .map_err(|rejection| ExecuteError::Rejected(Refused::Shop(rejection)))?;
        let received = ShopDecider::decide(receiver.state(), receive)
            .map_err(|rejection| ExecuteError::Rejected(Refused::Receiver(rejection)))?;
        let written = sender.commit_with(sent, (&mut receiver, received), cause, Some(answer)).await;
        written.map_err(|error| ExecuteError::Append(error).into())
    };
    settle(&app.log, cause, attempt).await.map_err(failed)
}

fn failed(error: DecideError<Refused, Problem>) -> Problem {
    error.or_else(problem)
}

fn problem(error: ExecuteError<Refused>) -> Problem {
    write::problem(error, |refused| match refused {
        Refused::Register(rejection) => refusal::unregistered(&rejection),
        Refused::Shop(rejection) => refusal::refused(&rejection, "quantity"),
        Refused::Receiver(ShopRejection::NotOpen) => Problem::not_found("There is no such shop to transfer to."),
        Refused::Receiver(ShopRejection::LineArticle { line, article_id }) => Problem::bad_field(
            refusal::of_line(line, "to_article_id"),
            format!("is {article_id}: the other shop has no such article, or it is not active"),
        ),
        Refused::Receiver(rejection) => refusal::refused(&rejection, "quantity"),
    })
}

fn widened<R: std::error::Error>(error: ExecuteError<R>, refused: impl FnOnce(R) -> Refused) -> ExecuteError<Refused> {
    match error {
        ExecuteError::Rejected(rejection) => ExecuteError::Rejected(refused(rejection)),
        ExecuteError::Conflict => ExecuteError::Conflict,
        ExecuteError::Append(error) => ExecuteError::Append(error),
        ExecuteError::Read(error) => ExecuteError::Read(error),
        ExecuteError::Decode(error) => ExecuteError::Decode(error),
    }
}

/// The shop's stream.
pub fn stream(shop_id: ShopId) -> StreamId {
    StreamId::from(shop::stream(shop_id))
}
