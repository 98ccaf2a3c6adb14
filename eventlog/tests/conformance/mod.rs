//! What every log promises, as facts that know no engine.
//!
//! An engine takes part by implementing [`Engine`] in a test file of its own and naming it to [`conformance!`].

pub mod answers;
pub mod append_only;
pub mod atomicity;
pub mod bounds;
pub mod durability;
pub mod expectations;
pub mod filters;
pub mod idempotency;
pub mod imports;
pub mod large;
pub mod model;
pub mod order;
pub mod reads;
pub mod repository;
pub mod subscriptions;

use std::{sync::Arc, time::Duration};

use daybook_eventlog::{
    Append, AppendError, AppendOutcome, Appended, ExpectedVersion, Filter, Log, NewEvent, Position, READ_EVENTS_MAX,
    RecordedEvent, StreamAppend, StreamId, from_micros,
};
use uuid::Uuid;

/// A place where one log lives.
pub trait Engine: Sized + Send + Sync + 'static {
    /// Why facts about this engine are skipped on this machine.
    fn missing() -> Option<String> {
        None
    }

    /// A new place, with nothing in it.
    async fn fresh() -> Self;

    /// Opens the log, which nobody else has open.
    async fn open(&self) -> Log;

    /// A place that holds what a hard stop (`kill -9`, power) at this moment would leave behind.
    async fn after_a_hard_stop(&self) -> Self;

    /// Changes the store behind the log's back, as its owner could; the store's own words when it refuses.
    async fn tamper(&self, tampering: Tampering) -> Result<(), String>;
}

/// What nobody may do to a store.
#[derive(Debug, Clone, Copy)]
pub enum Tampering {
    /// Other data for the event at position 1.
    ChangeEvent,
    /// The event at position 1 goes.
    DeleteEvent,
    /// All events go.
    DeleteAllEvents,
    /// A stream is called otherwise.
    RenameStream,
    /// A stream's name goes.
    DeleteStream,
    /// An event type is called otherwise.
    RenameType,
}

impl Tampering {
    pub const ALL: [Self; 6] = [
        Self::ChangeEvent,
        Self::DeleteEvent,
        Self::DeleteAllEvents,
        Self::RenameStream,
        Self::DeleteStream,
        Self::RenameType,
    ];
}

/// Runs every fact on an engine, each as a test of its own.
macro_rules! conformance {
    ($engine:ty) => {
        conformance!(@ $engine;
            durability: acknowledged_appends_survive_a_hard_stop, the_log_goes_on_where_a_hard_stop_left_it,
                a_closed_log_is_whole_when_it_is_opened_again, a_closed_log_refuses_appends_and_reads;
            order: positions_are_gapless_and_in_commit_order_under_64_writers,
                recorded_times_rise_with_positions;
            expectations: no_stream_is_taken_once, exact_is_the_version_of_the_last_event,
                any_takes_whatever_is_there, of_two_writers_with_the_same_expectation_one_wins,
                expectations_hold_after_a_reopen;
            idempotency: the_same_event_again_answers_its_first_position_in_every_mode,
                the_same_event_again_answers_its_first_position_after_a_reopen,
                an_id_with_other_content_is_refused, an_id_of_another_stream_is_refused,
                an_append_that_is_known_in_part_writes_the_rest, an_id_twice_in_one_append_is_refused,
                the_same_json_spelt_otherwise_is_the_same_event, ids_at_both_ends_of_the_range_are_taken_once,
                concurrent_repetitions_write_one_event, random_repetitions_never_write_an_event_twice;
            atomicity: an_append_over_several_streams_is_written_whole,
                one_part_that_fails_takes_the_others_with_it, a_stream_twice_in_one_append_goes_on,
                a_refused_append_leaves_its_neighbours_alone, thousands_of_streams_go_into_one_append;
            append_only: the_store_refuses_to_change_or_delete_what_was_written;
            reads: pages_of_streams_equal_the_model, an_unknown_stream_is_empty,
                a_position_beyond_the_head_holds_nothing, recorded_events_carry_everything;
            filters: filtered_pages_equal_the_model, a_moment_is_found_by_recorded_time, a_rare_event_far_away_is_found;
            subscriptions: subscriptions_see_everything_once_and_go_live_whenever_they_start,
                a_filtered_subscription_leaves_the_rest_out, a_subscription_ends_with_the_log,
                a_replay_equals_the_pages;
            answers: an_answer_is_kept_with_its_events, a_request_may_be_of_any_characters, a_concurrent_repetition_gets_the_first_answer,
                another_body_under_the_same_key_is_refused, an_append_without_events_keeps_its_answer,
                a_refused_append_keeps_no_answer, an_answer_survives_a_hard_stop;
            bounds: too_many_events_are_refused, too_large_an_event_is_refused, names_have_bounds, nul_bytes_are_refused,
                an_append_without_events_answers_the_head, a_full_queue_is_told_at_once;
            imports: an_imported_log_equals_its_original, appends_go_on_after_an_import,
                an_import_wakes_those_who_wait, an_import_survives_a_hard_stop,
                what_does_not_go_on_is_refused_whole_and_named, an_import_has_bounds,
                imported_ids_that_do_not_rise_are_new_or_refused;
            large: pages_of_large_events_equal_the_model, parts_with_large_events_come_as_several_values,
                large_events_that_end_their_blocks_are_bounded_too;
            repository: twenty_parallel_deciders_lose_nothing, dropped_futures_leave_no_stale_state,
                a_conflict_by_another_repository_is_decided_anew, two_repositories_lose_nothing,
                a_rejection_never_rests_on_an_old_state, nothing_to_do_never_rests_on_an_old_state,
                a_view_is_of_the_present, an_old_shape_is_read_through_its_upcaster,
                a_repeated_request_gets_its_answer_back, a_repeated_request_is_not_rejected,
                facts_are_looked_up_again_after_a_lost_race, a_repetition_is_answered_though_its_facts_are_gone,
                a_repetition_that_lost_the_race_is_not_rejected, what_runs_by_itself_is_written_once;
        );
    };
    (@ $engine:ty; $($group:ident: $($fact:ident),+;)+) => {
        $(mod $group {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() {
                if <$engine as Engine>::missing().is_some() {
                    return;
                }
                conformance::within_a_minute(conformance::$group::$fact::<$engine>()).await;
            })+
        })+
    };
}

/// A fact that waits for something that never comes fails instead of hanging.
pub async fn within_a_minute<T>(fact: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), fact).await.expect("a condition that never came true")
}

/// A new log, and its place, which has to outlive it.
pub async fn opened<E: Engine>() -> (E, Log) {
    let place = E::fresh().await;
    let log = place.open().await;
    (place, log)
}

pub fn stream(name: &str) -> StreamId {
    StreamId::from(name)
}

/// An event with an id of its own; `n` makes its data.
pub fn event(event_type: &'static str, n: u64) -> NewEvent {
    event_with_id(Uuid::new_v4(), event_type, n)
}

pub fn event_with_id(id: Uuid, event_type: &'static str, n: u64) -> NewEvent {
    NewEvent {
        id,
        event_type: event_type.into(),
        schema_version: 1,
        data: format!(r#"{{"n":{n}}}"#),
        metadata: Arc::from("{}"),
        occurred_at: from_micros(1_700_000_000_000_000 + i64::try_from(n).unwrap()),
    }
}

/// `count` events with consecutive ids.
pub fn run_of_events(event_type: &'static str, count: u64) -> Vec<NewEvent> {
    let first = Uuid::new_v4().as_u128() >> 1;
    (0..count).map(|n| event_with_id(Uuid::from_u128(first + u128::from(n)), event_type, n)).collect()
}

pub fn parts(parts: impl IntoIterator<Item = (StreamId, ExpectedVersion, Vec<NewEvent>)>) -> Append {
    let parts = parts.into_iter().map(|(stream, expected, events)| StreamAppend { stream, expected, events });
    Append { parts: parts.collect(), remember: None }
}

pub async fn try_append(log: &Log, append: Append) -> Result<Appended, AppendError> {
    match log.append(append).await? {
        AppendOutcome::Appended(appended) => Ok(appended),
        AppendOutcome::Remembered(answer) => panic!("no answer was to be remembered, but there was {answer:?}"),
    }
}

pub async fn append(log: &Log, name: &str, expected: ExpectedVersion, events: Vec<NewEvent>) -> Appended {
    try_append(log, Append::to(stream(name), expected, events)).await.expect("the append is taken")
}

pub async fn append_any(log: &Log, name: &str, events: Vec<NewEvent>) -> Appended {
    append(log, name, ExpectedVersion::Any, events).await
}

/// The whole log, page by page.
pub async fn everything(log: &Log) -> Vec<RecordedEvent> {
    pages(log, &Filter::all(), READ_EVENTS_MAX).await
}

/// All that `filter` wants, in pages of `limit`.
pub async fn pages(log: &Log, filter: &Filter, limit: usize) -> Vec<RecordedEvent> {
    let (mut after, mut events) = (Position::START, Vec::new());
    while after < log.head() {
        let page = log.read_all(after, limit, filter).await.unwrap();
        assert!(page.next_after > after, "a page that does not move on at {after}");
        assert!(page.events.len() <= limit);
        events.extend(page.events);
        after = page.next_after;
    }
    events
}

pub fn positions(numbers: impl IntoIterator<Item = u64>) -> Vec<Position> {
    numbers.into_iter().map(Position::new).collect()
}

/// Positions from 1 and versions from 0, without a gap.
pub fn assert_gapless(events: &[RecordedEvent]) {
    let mut next = std::collections::HashMap::new();
    for (event, position) in events.iter().zip(1..) {
        assert_eq!(event.position.get(), position);
        let next = next.entry(&event.stream).or_insert(0);
        assert_eq!(event.version, *next, "of {} at {position}", event.stream);
        *next += 1;
    }
}

/// Numbers that look random and are the same in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to `end`, without it.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

/// Each stored checksum covers its event and the checksum before; answers the last one. Written down once more here, by
/// what the documents say of it.
#[track_caller]
pub fn assert_chain(events: &[RecordedEvent], stored: &[i64]) -> u64 {
    assert_eq!(events.len(), stored.len());
    let mut checksum = 0_u64;
    for (event, stored) in events.iter().zip(stored) {
        let mut bytes = Vec::new();
        for number in [
            checksum,
            event.position.get(),
            event.version,
            u64::from(event.schema_version),
            event.occurred_at.timestamp_micros().cast_unsigned(),
            event.recorded_at.timestamp_micros().cast_unsigned(),
        ] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(event.id.as_bytes());
        for text in [event.stream.as_str(), &event.event_type, &event.metadata, &event.data] {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        checksum = xxhash_rust::xxh3::xxh3_64(&bytes);
        assert_eq!(checksum, stored.cast_unsigned(), "at {}", event.position);
    }
    checksum
}
