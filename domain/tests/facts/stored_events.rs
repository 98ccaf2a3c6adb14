//! The JSON that stands in logs for ever: a changed shape needs a new version and an upcaster, not a new snapshot.

use chrono_tz::Tz;
use daybook_domain::book::{BookAdded, BookChanged, BookEvent};
use daybook_domain::event::{DecodeError, DomainEvent, Event};
use daybook_domain::reading::{
    DeviceType, EndReason, ReaderEvent, ReaderProfileChanged, ReadingSessionEnded, ReadingSessionStarted,
    ReadingSessionUpdated,
};
use insta::assert_snapshot;

use crate::given::{at, id, percent};

/// How an event is stored: name, version, data.
pub fn stored(event: &impl DomainEvent) -> String {
    let data = String::from_utf8(event.encode()).unwrap_or_else(|_| panic!("JSON is UTF-8"));
    format!("{} {} {data}", event.event_type(), event.schema_version())
}

/// Reads what [`stored`] shows.
pub fn reread(stored: &str) -> Result<Option<Event>, DecodeError> {
    let mut parts = stored.splitn(3, ' ');
    let mut part = || parts.next().unwrap_or_default();
    let (event_type, version, data) = (part(), part(), part());
    Event::decode(event_type, version.parse().unwrap_or_default(), data.as_bytes())
}

fn read_reader(stored: &str) -> ReaderEvent {
    match reread(stored) {
        Ok(Some(Event::Reader(event))) => event,
        other => panic!("{other:?} is no event of a reader"),
    }
}

fn started() -> ReadingSessionStarted {
    ReadingSessionStarted {
        session_id: id(1),
        user_id: id(2),
        book_id: id(3),
        started_at: at("2025-10-28T10:30:00Z"),
        start_position: percent(25),
        device_type: Some(DeviceType::Mobile),
        timezone: Tz::Europe__Paris,
    }
}

fn ended() -> ReadingSessionEnded {
    ReadingSessionEnded {
        session_id: id(1),
        user_id: id(2),
        book_id: id(3),
        started_at: at("2025-10-28T10:30:00Z"),
        ended_at: at("2025-10-28T11:15:00.250Z"),
        start_position: percent(25),
        end_position: percent(45),
        device_type: Some(DeviceType::Tablet),
        timezone: Tz::Asia__Kathmandu,
        reason: EndReason::Offline,
        client_id: Some(id(4)),
    }
}

#[test]
fn a_started_session_is_stored_like_this() {
    assert_snapshot!(stored(&ReaderEvent::ReadingSessionStarted(started())), @r#"ReadingSessionStarted 2 {"session_id":"00000000-0000-0000-0000-000000000001","user_id":"00000000-0000-0000-0000-000000000002","book_id":"00000000-0000-0000-0000-000000000003","started_at":"2025-10-28T10:30:00Z","start_position":25,"device_type":"mobile","timezone":"Europe/Paris"}"#);
    let unknown_device = ReadingSessionStarted { device_type: None, ..started() };
    assert_snapshot!(stored(&ReaderEvent::ReadingSessionStarted(unknown_device)), @r#"ReadingSessionStarted 2 {"session_id":"00000000-0000-0000-0000-000000000001","user_id":"00000000-0000-0000-0000-000000000002","book_id":"00000000-0000-0000-0000-000000000003","started_at":"2025-10-28T10:30:00Z","start_position":25,"timezone":"Europe/Paris"}"#);
}

#[test]
fn an_updated_session_is_stored_like_this() {
    let event = ReaderEvent::ReadingSessionUpdated(ReadingSessionUpdated {
        session_id: id(1),
        position: percent(35),
        reported_at: at("2025-10-28T10:45:00.000007Z"),
    });
    assert_snapshot!(stored(&event), @r#"ReadingSessionUpdated 1 {"session_id":"00000000-0000-0000-0000-000000000001","position":35,"reported_at":"2025-10-28T10:45:00.000007Z"}"#);
}

#[test]
fn an_ended_session_is_stored_like_this() {
    assert_snapshot!(stored(&ReaderEvent::ReadingSessionEnded(ended())), @r#"ReadingSessionEnded 2 {"session_id":"00000000-0000-0000-0000-000000000001","user_id":"00000000-0000-0000-0000-000000000002","book_id":"00000000-0000-0000-0000-000000000003","started_at":"2025-10-28T10:30:00Z","ended_at":"2025-10-28T11:15:00.250Z","start_position":25,"end_position":45,"device_type":"tablet","timezone":"Asia/Kathmandu","reason":"offline","client_id":"00000000-0000-0000-0000-000000000004"}"#);
    let bare = ReadingSessionEnded { device_type: None, client_id: None, reason: EndReason::Idle, ..ended() };
    assert_snapshot!(stored(&ReaderEvent::ReadingSessionEnded(bare)), @r#"ReadingSessionEnded 2 {"session_id":"00000000-0000-0000-0000-000000000001","user_id":"00000000-0000-0000-0000-000000000002","book_id":"00000000-0000-0000-0000-000000000003","started_at":"2025-10-28T10:30:00Z","ended_at":"2025-10-28T11:15:00.250Z","start_position":25,"end_position":45,"timezone":"Asia/Kathmandu","reason":"idle"}"#);
}

#[test]
fn a_changed_profile_is_stored_like_this() {
    let profile = |timezone, name: Option<&str>| {
        ReaderEvent::ReaderProfileChanged(ReaderProfileChanged {
            user_id: id(2),
            timezone,
            display_name: name.map(str::to_owned),
            changed_at: at("2025-10-28T10:30:00Z"),
        })
    };
    assert_snapshot!(stored(&profile(Some(Tz::UTC), Some("Анна"))), @r#"ReaderProfileChanged 1 {"user_id":"00000000-0000-0000-0000-000000000002","timezone":"UTC","display_name":"Анна","changed_at":"2025-10-28T10:30:00Z"}"#);
    assert_snapshot!(stored(&profile(None, None)), @r#"ReaderProfileChanged 1 {"user_id":"00000000-0000-0000-0000-000000000002","changed_at":"2025-10-28T10:30:00Z"}"#);
}

#[test]
fn an_added_book_is_stored_like_this() {
    let event = BookEvent::BookAdded(BookAdded {
        book_id: id(3),
        owner: id(2),
        title: "Emma".to_owned(),
        total_pages: Some(300),
        shared: false,
        added_at: at("2025-10-28T10:30:00Z"),
    });
    assert_snapshot!(stored(&event), @r#"BookAdded 1 {"book_id":"00000000-0000-0000-0000-000000000003","owner":"00000000-0000-0000-0000-000000000002","title":"Emma","total_pages":300,"shared":false,"added_at":"2025-10-28T10:30:00Z"}"#);
}

#[test]
fn a_changed_book_is_stored_like_this() {
    let event = BookEvent::BookChanged(BookChanged {
        book_id: id(3),
        title: "Emma".to_owned(),
        total_pages: None,
        shared: true,
        changed_at: at("2025-10-28T10:30:00Z"),
    });
    assert_snapshot!(stored(&event), @r#"BookChanged 1 {"book_id":"00000000-0000-0000-0000-000000000003","title":"Emma","shared":true,"changed_at":"2025-10-28T10:30:00Z"}"#);
}

#[test]
fn sessions_of_the_system_before_this_one_were_read_in_utc() {
    let old_start = r#"ReadingSessionStarted 1 {"session_id":"00000000-0000-0000-0000-000000000001","user_id":"00000000-0000-0000-0000-000000000002","book_id":"00000000-0000-0000-0000-000000000003","started_at":"2025-10-28T10:30:00Z","start_position":25,"device_type":"mobile"}"#;
    let old_end = r#"ReadingSessionEnded 1 {"session_id":"00000000-0000-0000-0000-000000000001","user_id":"00000000-0000-0000-0000-000000000002","book_id":"00000000-0000-0000-0000-000000000003","started_at":"2025-10-28T10:30:00Z","ended_at":"2025-10-28T11:15:00.25Z","start_position":25,"end_position":45,"device_type":null,"reason":"requested"}"#;
    let in_utc = ReadingSessionStarted { timezone: Tz::UTC, ..started() };
    assert_eq!(read_reader(old_start), ReaderEvent::ReadingSessionStarted(in_utc));
    let in_utc = ReadingSessionEnded {
        timezone: Tz::UTC,
        device_type: None,
        reason: EndReason::Requested,
        client_id: None,
        ..ended()
    };
    assert_eq!(read_reader(old_end), ReaderEvent::ReadingSessionEnded(in_utc));
}

#[test]
fn a_newer_version_is_refused() {
    for (stored, current) in
        [("ReadingSessionStarted 3 {}", 2), ("ReadingSessionUpdated 2 {}", 1), ("BookAdded 2 {}", 1)]
    {
        let error = reread(stored).err();
        assert!(matches!(error, Some(DecodeError::FromTheFuture { known, .. }) if known == current), "{error:?}");
    }
}

#[test]
fn data_that_is_not_of_its_version_is_refused() {
    let too_far = r#"ReadingSessionUpdated 1 {"session_id":"00000000-0000-0000-0000-000000000001","position":101,"reported_at":"2025-10-28T10:45:00Z"}"#;
    for stored in
        [too_far, "ReadingSessionStarted 2 {}", "ReadingSessionStarted 1 []", "BookAdded 0 {}", "BookAdded 1 {"]
    {
        let error = reread(stored).err();
        assert!(matches!(error, Some(DecodeError::Malformed { .. })), "{stored}: {error:?}");
    }
}

#[test]
fn a_name_of_no_family_is_no_event_here() {
    assert!(matches!(reread("GoldFound 1 {}"), Ok(None)));
    assert!(
        matches!(ReaderEvent::decode("BookAdded", 1, b"{}"), Err(DecodeError::UnknownType(name)) if name == "BookAdded")
    );
    assert!(matches!(BookEvent::decode("ReadingSessionEnded", 1, b"{}"), Err(DecodeError::UnknownType(_))));
}
