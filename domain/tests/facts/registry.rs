//! Numbers are unique over all shops, and a terminal is active in one of them.

use daybook_domain::registry::{
    ArticleIdTaken, RegistryCommand, RegistryDecider, RegistryEvent, RegistryRejection, RegistryState, STREAM,
    ShopIdTaken, TerminalAssigned, TerminalReleased,
};
use daybook_domain::shop::ShopId;

use crate::given::{Given, minute};

fn given(events: impl IntoIterator<Item = RegistryEvent>) -> Given<RegistryDecider> {
    Given::new(events)
}

fn shop_taken(shop_id: ShopId) -> RegistryEvent {
    RegistryEvent::ShopIdTaken(ShopIdTaken { shop_id, at: minute(0) })
}

fn article_taken(article_id: i64, shop_id: ShopId) -> RegistryEvent {
    RegistryEvent::ArticleIdTaken(ArticleIdTaken { article_id, shop_id, at: minute(0) })
}

fn assigned(shop_id: ShopId) -> RegistryEvent {
    RegistryEvent::TerminalAssigned(TerminalAssigned { serial: "till".to_owned(), shop_id, at: minute(0) })
}

fn released(shop_id: ShopId) -> RegistryEvent {
    RegistryEvent::TerminalReleased(TerminalReleased { serial: "till".to_owned(), shop_id, at: minute(0) })
}

fn take_shop(id: Option<i64>) -> RegistryCommand {
    RegistryCommand::TakeShopId { id, now: minute(0) }
}

fn take_article(id: Option<i64>, shop_id: ShopId) -> RegistryCommand {
    RegistryCommand::TakeArticleId { id, shop_id, now: minute(0) }
}

fn assign(shop_id: ShopId) -> RegistryCommand {
    RegistryCommand::AssignTerminal { serial: "till".to_owned(), shop_id, now: minute(0) }
}

fn release(shop_id: ShopId) -> RegistryCommand {
    RegistryCommand::ReleaseTerminal { serial: "till".to_owned(), shop_id, now: minute(0) }
}

#[test]
fn the_next_free_id_is_the_one_after_the_highest() {
    given([]).when(take_shop(None)).then([shop_taken(1)]);
    given([shop_taken(1), shop_taken(7)]).when(take_shop(None)).then([shop_taken(8)]);
    given([shop_taken(9)]).when(take_article(None, 9)).then([article_taken(1, 9)]);
    given([article_taken(4, 1), article_taken(2, 3)]).when(take_article(None, 3)).then([article_taken(5, 3)]);
}

#[test]
fn an_id_that_is_given_has_to_be_free() {
    given([shop_taken(1)]).when(take_shop(Some(3))).then([shop_taken(3)]);
    given([shop_taken(3)]).when(take_shop(Some(3))).then_rejected(RegistryRejection::IdTaken { id: 3 });
    given([article_taken(6, 1)]).when(take_article(Some(5), 2)).then([article_taken(5, 2)]);
    given([article_taken(6, 1)]).when(take_article(Some(6), 2)).then_rejected(RegistryRejection::IdTaken { id: 6 });
}

#[test]
fn ids_count_from_1_and_end() {
    given([]).when(take_shop(Some(0))).then_rejected(RegistryRejection::IdBelowOne { id: 0 });
    given([]).when(take_article(Some(-1), 1)).then_rejected(RegistryRejection::IdBelowOne { id: -1 });
    given([shop_taken(i64::MAX)]).when(take_shop(None)).then_rejected(RegistryRejection::NoIdLeft);
}

#[test]
fn a_terminal_is_active_in_one_shop_at_a_time() {
    given([]).when(assign(1)).then([assigned(1)]);
    given([assigned(1)]).when(assign(1)).then([]);
    let elsewhere = RegistryRejection::ActiveElsewhere { serial: "till".to_owned(), shop_id: 1 };
    given([assigned(1)]).when(assign(2)).then_rejected(elsewhere);
    given([assigned(1), released(1)]).when(assign(2)).then([assigned(2)]);
}

#[test]
fn only_the_shop_where_a_terminal_is_active_releases_it() {
    given([assigned(1)]).when(release(1)).then([released(1)]);
    given([assigned(1)]).when(release(2)).then([]);
    given([]).when(release(1)).then([]);
}

#[test]
fn a_snapshot_is_the_register() {
    assert_eq!(STREAM, "register-shops");
    let mut state = RegistryState::default();
    for event in [shop_taken(2), article_taken(6, 2), assigned(2)] {
        <RegistryDecider as daybook_domain::decider::Decider>::evolve(&mut state, &event);
    }
    let json = serde_json::to_string(&state).unwrap();
    insta::assert_snapshot!(json, @r#"{"shops":[2],"articles":{"6":2},"terminals":{"till":2}}"#);
    assert_eq!(serde_json::from_str::<RegistryState>(&json).unwrap(), state);
}
