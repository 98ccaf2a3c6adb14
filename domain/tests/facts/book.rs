//! Who may add, change and share a book.

use daybook_domain::book::{
    Book, BookAdded, BookChanged, BookDecider, BookEvent, BookRejection, KnownBook, PutBook, stream,
};

use crate::given::{Given, id, minute};

const BOOK: u128 = 0xb00c;
const ANNA: u128 = 0xa11a;
const BORIS: u128 = 0xb0;

fn given(events: impl IntoIterator<Item = BookEvent>) -> Given<BookDecider> {
    Given::new(events)
}

/// Anna's "Emma" of 300 pages.
fn added(shared: bool) -> BookEvent {
    BookEvent::BookAdded(BookAdded {
        book_id: id(BOOK),
        owner: id(ANNA),
        title: "Emma".to_owned(),
        total_pages: Some(300),
        shared,
        added_at: minute(0),
    })
}

fn changed(title: &str, total_pages: Option<u32>, shared: bool) -> BookEvent {
    BookEvent::BookChanged(BookChanged {
        book_id: id(BOOK),
        title: title.to_owned(),
        total_pages,
        shared,
        changed_at: minute(5),
    })
}

/// Only a title: everything else stays as it is.
fn put(caller: u128, title: &str) -> PutBook {
    PutBook {
        book_id: id(BOOK),
        caller: id(caller),
        caller_is_admin: false,
        title: title.to_owned(),
        total_pages: None,
        shared: None,
        now: minute(5),
    }
}

fn share(caller: u128) -> PutBook {
    PutBook { shared: Some(true), ..put(caller, "Emma") }
}

fn as_admin(put: PutBook) -> PutBook {
    PutBook { caller_is_admin: true, ..put }
}

#[test]
fn a_new_book_belongs_to_whoever_adds_it_and_is_not_shared() {
    given([]).when(PutBook { total_pages: Some(Some(300)), now: minute(0), ..put(ANNA, "Emma") }).then([added(false)]);
}

#[test]
fn an_own_book_is_changed_and_what_is_left_out_stays() {
    given([added(false)]).when(put(ANNA, "Persuasion")).then([changed("Persuasion", Some(300), false)]);
}

#[test]
fn the_number_of_pages_is_changed_and_cleared() {
    let pages = |pages| PutBook { total_pages: Some(pages), ..put(ANNA, "Emma") };
    given([added(false)]).when(pages(Some(512))).then([changed("Emma", Some(512), false)]);
    given([added(false)]).when(pages(None)).then([changed("Emma", None, false)]);
}

#[test]
fn putting_a_book_as_it_is_changes_nothing() {
    let same = PutBook { total_pages: Some(Some(300)), shared: Some(false), ..put(ANNA, "Emma") };
    given([added(false)]).when(same).then([]);
    given([added(false), changed("Persuasion", None, false)]).when(put(ANNA, "Persuasion")).then([]);
}

#[test]
fn another_readers_book_is_not_yours() {
    given([added(false)]).when(put(BORIS, "Mine")).then_rejected(BookRejection::NotYours);
    given([added(true)]).when(put(BORIS, "Mine")).then_rejected(BookRejection::NotYours);
}

#[test]
fn a_book_that_the_caller_cannot_see_is_not_theirs_before_anything_else() {
    given([added(false)]).when(share(BORIS)).then_rejected(BookRejection::NotYours);
    given([added(false)]).when(as_admin(share(BORIS))).then_rejected(BookRejection::NotYours);
}

#[test]
fn an_admin_changes_any_shared_book() {
    given([added(true)]).when(as_admin(put(BORIS, "Persuasion"))).then([changed("Persuasion", Some(300), true)]);
}

#[test]
fn sharing_needs_an_admin() {
    given([]).when(share(ANNA)).then_rejected(BookRejection::SharingNeedsAdmin);
    given([added(false)]).when(share(ANNA)).then_rejected(BookRejection::SharingNeedsAdmin);
    given([added(false)]).when(as_admin(share(ANNA))).then([changed("Emma", Some(300), true)]);
}

#[test]
fn an_owner_keeps_a_shared_book_shared_and_takes_it_back_without_an_admin() {
    given([added(true)]).when(share(ANNA)).then([]);
    let take_back = PutBook { shared: Some(false), ..put(ANNA, "Emma") };
    given([added(true)]).when(take_back).then([changed("Emma", Some(300), false)]);
}

#[test]
fn a_book_is_readable_by_its_owner_and_by_all_when_shared() {
    let book = |shared| KnownBook {
        book_id: id(BOOK),
        owner: id(ANNA),
        title: "Emma".to_owned(),
        total_pages: None,
        shared,
        created_at: minute(0),
    };
    assert!(book(false).is_readable_by(id(ANNA)));
    assert!(!book(false).is_readable_by(id(BORIS)));
    assert!(book(true).is_readable_by(id(BORIS)));
}

#[test]
fn a_book_nobody_added_is_unknown_and_has_its_own_stream() {
    assert_eq!(Book::default(), Book::Unknown);
    assert_eq!(stream(id(BOOK)), "book-00000000-0000-0000-0000-00000000b00c");
}
