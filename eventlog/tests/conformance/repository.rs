//! The way of every decision, on whichever engine.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use chrono::{DateTime, Utc};
use daybook_domain::{
    decider::Decider,
    event::{DecodeError, DomainEvent},
    reading::{Percent, ReaderCommand, ReaderDecider, Situation},
};
use daybook_eventlog::{
    Answer, Cause, DecideError, Decided, Direction, ExecuteError, Executed, ExpectedVersion, Log, LookUp, Metadata,
    NewEvent, Render, Repository, RequestKey, from_micros,
};
use futures::future::join_all;
use serde_json::json;
use uuid::Uuid;

use super::{Dice, Engine, append, append_any, event, everything, opened, stream};

/// A till: takes numbers, each once, up to a hundred of them.
struct Till;

#[derive(Debug, Clone, PartialEq)]
struct Taken(u64);

#[derive(Debug, thiserror::Error)]
#[error("the till is full")]
struct Full;

const ROOM: usize = 100;

impl DomainEvent for Taken {
    fn event_type(&self) -> &'static str {
        "Taken"
    }
    fn schema_version(&self) -> u16 {
        1
    }
    fn occurred_at(&self) -> DateTime<Utc> {
        from_micros(0)
    }
    fn encode(&self) -> Vec<u8> {
        self.0.to_string().into_bytes()
    }
    fn decode(event_type: &str, schema_version: u16, data: &[u8]) -> Result<Self, DecodeError> {
        let malformed = |source| DecodeError::Malformed { event_type: event_type.to_owned(), schema_version, source };
        serde_json::from_slice(data).map(Self).map_err(malformed)
    }
}

impl Decider for Till {
    type Command = u64;
    type Event = Taken;
    type State = BTreeSet<u64>;
    type Rejection = Full;

    fn decide(state: &BTreeSet<u64>, number: &u64) -> Result<Vec<Taken>, Full> {
        match state {
            known if known.contains(number) => Ok(vec![]),
            full if full.len() >= ROOM => Err(Full),
            _ => Ok(vec![Taken(*number)]),
        }
    }

    fn evolve(state: &mut BTreeSet<u64>, event: &Taken) {
        state.insert(event.0);
    }
}

fn how_many(decided: Decided<'_, Till>) -> Answer {
    Answer(decided.state.len().to_string().into_bytes())
}

async fn take(till: &Repository<Till>, number: u64) -> Result<Executed, ExecuteError<Full>> {
    till.execute(&stream("till-1"), &number, &Cause::default(), how_many).await
}

/// The numbers in the log, in order, each standing at the version that a writer without a rival would give it.
async fn numbers(log: &Log) -> Vec<u64> {
    let events = log.read_stream(&stream("till-1"), None, Direction::Forward, 20_000).await.unwrap();
    events.iter().map(|event| event.data.parse().unwrap()).collect()
}

async fn state(till: &Repository<Till>) -> BTreeSet<u64> {
    till.view(&stream("till-1"), Clone::clone).await.unwrap()
}

fn sorted(mut numbers: Vec<u64>) -> Vec<u64> {
    numbers.sort_unstable();
    numbers
}

pub async fn twenty_parallel_deciders_lose_nothing<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let till = Repository::<Till>::new(log.clone(), 100);
    let deciders = (0..20).map(|decider| {
        let till = till.clone();
        tokio::spawn(async move {
            for n in 0..7 {
                match take(&till, decider * 7 + n).await {
                    Ok(_) | Err(ExecuteError::Rejected(Full)) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        })
    });
    for decider in join_all(deciders).await {
        decider.unwrap();
    }
    let numbers = numbers(&log).await;
    assert_eq!(numbers.len(), ROOM, "the limit holds, and nobody was turned away before it");
    assert_eq!(state(&till).await, numbers.iter().copied().collect());
}

pub async fn dropped_futures_leave_no_stale_state<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let till = Repository::<Till>::new(log.clone(), 100);
    let mut dice = Dice(5);
    for round in 0..80 {
        let tasks: Vec<_> = (0..3)
            .map(|n| {
                let till = till.clone();
                tokio::spawn(async move { take(&till, (round * 3 + n) % 90).await })
            })
            .collect();
        for _ in 0..dice.below(40) {
            tokio::task::yield_now().await;
        }
        for task in &tasks {
            if dice.below(2) == 0 {
                task.abort();
            }
        }
        for task in tasks {
            if let Ok(outcome) = task.await {
                outcome.unwrap();
            }
        }
        // Waits until everything that was sent has been written.
        append_any(&log, "other-1", vec![]).await;
        let numbers = numbers(&log).await;
        let distinct: BTreeSet<u64> = numbers.iter().copied().collect();
        assert_eq!(distinct.len(), numbers.len(), "a number was taken twice: {numbers:?}");
        assert_eq!(state(&till).await, distinct);
    }
}

pub async fn a_conflict_by_another_repository_is_decided_anew<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let (here, there) = (Repository::<Till>::new(log.clone(), 100), Repository::<Till>::new(log.clone(), 100));
    for n in 0..10 {
        take(&here, 2 * n).await.unwrap();
        let executed = take(&there, 2 * n + 1).await.unwrap();
        assert_eq!(executed.answer.0, (2 * n + 2).to_string().into_bytes());
    }
    assert_eq!(numbers(&log).await, (0..20).collect::<Vec<_>>());
}

pub async fn two_repositories_lose_nothing<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let repositories = [(); 2].map(|()| Repository::<Till>::new(log.clone(), 100));
    let deciders = (0..40_u64).map(|n| {
        let till = repositories[usize::from(n % 2 == 0)].clone();
        tokio::spawn(async move {
            loop {
                match take(&till, n).await {
                    Ok(_) => return,
                    // Too many others were faster: the caller's turn to try again.
                    Err(ExecuteError::Conflict) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        })
    });
    for decider in join_all(deciders).await {
        decider.unwrap();
    }
    assert_eq!(sorted(numbers(&log).await), (0..40).collect::<Vec<_>>());
}

pub async fn a_rejection_never_rests_on_an_old_state<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let readers = Repository::<ReaderDecider>::new(log.clone(), 100);
    let elsewhere = Repository::<ReaderDecider>::new(log.clone(), 100);
    let reader = stream("reader-1");
    let update =
        |session| ReaderCommand::Update { session_id: Uuid::from_u128(session), position: percent(9), now: at(2) };
    readers.execute(&reader, &start(1), &Cause::default(), ok).await.unwrap();

    elsewhere.execute(&reader, &start(2), &Cause::default(), ok).await.unwrap();

    readers.execute(&reader, &update(2), &Cause::default(), ok).await.expect("the session was started elsewhere");
    let rejected = elsewhere.execute(&reader, &update(1), &Cause::default(), ok).await;
    assert!(matches!(rejected, Err(ExecuteError::Rejected(_))));
}

pub async fn nothing_to_do_never_rests_on_an_old_state<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let readers = Repository::<ReaderDecider>::new(log.clone(), 100);
    let elsewhere = Repository::<ReaderDecider>::new(log.clone(), 100);
    let reader = stream("reader-1");
    let named = |name: &str| ReaderCommand::ChangeProfile {
        user_id: Uuid::from_u128(1),
        timezone: None,
        display_name: Some(Some(name.to_owned())),
        now: at(1),
    };
    readers.execute(&reader, &named("Anna"), &Cause::default(), ok).await.unwrap();
    elsewhere.execute(&reader, &named("Boris"), &Cause::default(), ok).await.unwrap();

    readers.execute(&reader, &named("Anna"), &Cause::default(), ok).await.unwrap();

    assert_eq!(everything(&log).await.len(), 3, "she is called Boris now, so there is something to do");
}

pub async fn a_view_is_of_the_present<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let till = Repository::<Till>::new(log.clone(), 100);
    take(&till, 1).await.unwrap();
    append(&log, "till-1", ExpectedVersion::Exact(0), NewEvent::from_domain(&[Taken(2)], &Arc::from("{}"))).await;
    assert_eq!(state(&till).await, BTreeSet::from([1, 2]));
}

pub async fn an_old_shape_is_read_through_its_upcaster<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let (session, reader) = (Uuid::from_u128(1), stream("reader-1"));
    let mut started = event("ReadingSessionStarted", 1);
    started.data = json!({
        "session_id": session, "user_id": Uuid::from_u128(2), "book_id": Uuid::from_u128(3),
        "started_at": "2025-10-28T10:30:00Z", "start_position": 25,
    })
    .to_string();
    append_any(&log, "reader-1", vec![started]).await;
    let readers = Repository::<ReaderDecider>::new(log.clone(), 100);

    let timezone = readers
        .view(&reader, |reader| match &reader.session {
            Situation::Reading(active) => Some(active.timezone.name()),
            Situation::Idle => None,
        })
        .await
        .unwrap();

    assert_eq!(timezone, Some("UTC"));
}

pub async fn a_repeated_request_gets_its_answer_back<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let till = Repository::<Till>::new(log.clone(), 100);
    let cause = |key: &str| Cause {
        request: Some(RequestKey { caller: "a".into(), route: "r".into(), key: key.into(), fingerprint: [1; 32] }),
        ..Cause::default()
    };
    let ask = |number, key| {
        let (till, cause) = (till.clone(), cause(key));
        async move { till.execute(&stream("till-1"), &number, &cause, how_many).await.unwrap() }
    };
    let answers = join_all((0..8).map(|_| ask(1, "k1"))).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    ask(2, "k2").await;
    let nothing_new = ask(2, "k3").await;
    assert_eq!(nothing_new.answer.0, b"2");
    ask(3, "k4").await;
    assert_eq!(ask(2, "k3").await, nothing_new);
    assert_eq!(numbers(&log).await, [1, 2, 3]);
}

pub async fn a_repeated_request_is_not_rejected<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let till = Repository::<Till>::new(log.clone(), 100);
    let numbers: Vec<Taken> = (1..100).map(Taken).collect();
    append_any(&log, "till-1", NewEvent::from_domain(&numbers, &Arc::from("{}"))).await;
    let request = RequestKey { caller: "a".into(), route: "r".into(), key: "k".into(), fingerprint: [1; 32] };
    let cause = Cause { request: Some(request), ..Cause::default() };
    let till_1 = stream("till-1");
    let last = till.execute(&till_1, &100, &cause, how_many).await.unwrap();
    assert!(matches!(take(&till, 101).await, Err(ExecuteError::Rejected(Full))));
    // The same request, although what it asks for would be rejected now.
    let again = till.execute(&till_1, &101, &cause, how_many).await.unwrap();
    assert_eq!(again, last);
}

fn keyed() -> Cause {
    let request = RequestKey { caller: "a".into(), route: "r".into(), key: "k".into(), fingerprint: [1; 32] };
    Cause { request: Some(request), ..Cause::default() }
}

/// Takes the number after the last one. Before it says so, the first time, a rival takes `rival` by a repository of its
/// own, for a request of `cause`; and when the till then holds `refused_from` numbers or more, there is nothing to take.
struct Next {
    rival: (Repository<Till>, u64, Cause),
    refused_from: usize,
    looked: AtomicUsize,
}

impl Next {
    fn beside(log: &Log, rival: u64, cause: Cause) -> Self {
        let rival = (Repository::new(log.clone(), 100), rival, cause);
        Self { rival, refused_from: usize::MAX, looked: AtomicUsize::new(0) }
    }
}

impl LookUp<Till> for Next {
    type Failure = &'static str;

    async fn look_up(&self, state: &BTreeSet<u64>) -> Result<(u64, Render<Till>), &'static str> {
        if self.looked.fetch_add(1, Ordering::Relaxed) == 0 {
            let (till, number, cause) = &self.rival;
            till.execute(&stream("till-1"), number, cause, how_many).await.unwrap();
            if self.refused_from == 0 {
                return Err("nothing to take");
            }
        }
        if state.len() >= self.refused_from {
            return Err("nothing to take");
        }
        Ok((state.last().map_or(1, |last| last + 1), Arc::new(how_many)))
    }
}

pub async fn facts_are_looked_up_again_after_a_lost_race<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let till = Repository::<Till>::new(log.clone(), 100);
    let facts = Next::beside(&log, 1, Cause::default());
    let executed = till.execute_with(&stream("till-1"), &keyed(), &facts).await.unwrap();
    assert_eq!((numbers(&log).await, facts.looked.into_inner()), (vec![1, 2], 2));
    assert_eq!(executed.answer.0, b"2");

    // What there is nothing to decide about is the caller's to tell, and writes nothing.
    let facts = Next { refused_from: 2, ..Next::beside(&log, 2, Cause::default()) };
    let refused = till.execute_with(&stream("till-1"), &Cause::default(), &facts).await;
    assert!(matches!(refused, Err(DecideError::LookUp("nothing to take"))), "{refused:?}");
    let again = till.execute_with(&stream("till-1"), &keyed(), &facts).await.unwrap();
    assert_eq!((again, numbers(&log).await), (executed, vec![1, 2]));
}

pub async fn a_repetition_is_answered_though_its_facts_are_gone<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let till = Repository::<Till>::new(log.clone(), 100);
    // The same request is answered elsewhere after this one looked for a kept answer.
    let facts = Next { refused_from: 0, ..Next::beside(&log, 7, keyed()) };
    let executed = till.execute_with(&stream("till-1"), &keyed(), &facts).await.unwrap();
    assert_eq!((executed.answer.0.as_slice(), executed.position.get()), (&b"1"[..], 1));
    assert_eq!(numbers(&log).await, [7]);
}

pub async fn a_repetition_that_lost_the_race_is_not_rejected<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let till = Repository::<Till>::new(log.clone(), 100);
    let taken: Vec<Taken> = (1..100).map(Taken).collect();
    append_any(&log, "till-1", NewEvent::from_domain(&taken, &Arc::from("{}"))).await;
    // The same request, sent elsewhere as well, fills the till: what is decided afterwards is a rejection.
    let facts = Next::beside(&log, 100, keyed());
    let executed = till.execute_with(&stream("till-1"), &keyed(), &facts).await.unwrap();
    assert_eq!(executed.position.get(), 100);
    let full = till.execute_with(&stream("till-1"), &Cause::default(), &facts).await;
    assert!(matches!(full, Err(DecideError::Execute(ExecuteError::Rejected(Full)))), "{full:?}");
}

pub async fn what_runs_by_itself_is_written_once<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let till = Repository::<Till>::new(log.clone(), 100);
    let metadata = Metadata { actor: Some("system:test".to_owned()), ..Metadata::default() };
    for _ in 0..2 {
        assert_eq!(till.run(&stream("till-1"), &1, &metadata).await.unwrap().get(), 1);
    }
    let written = log.read_stream(&stream("till-1"), None, Direction::Forward, 10).await.unwrap();
    assert_eq!(written.len(), 1);
    assert!(written[0].metadata.contains("system:test"));
}

fn ok(_: Decided<'_, ReaderDecider>) -> Answer {
    Answer::default()
}

fn at(minute: i64) -> DateTime<Utc> {
    from_micros(1_700_000_000_000_000 + minute * 60_000_000)
}

fn percent(percent: u8) -> Percent {
    Percent::new(percent).unwrap()
}

fn start(session: u128) -> ReaderCommand {
    ReaderCommand::Start {
        session_id: Uuid::from_u128(session),
        user_id: Uuid::from_u128(1),
        book_id: Uuid::from_u128(2),
        start_position: percent(0),
        device_type: None,
        timezone: None,
        now: at(1),
    }
}
