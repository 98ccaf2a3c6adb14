//! Several nodes on one database.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use daybook_domain::reading::{ReaderCommand, ReaderDecider};
use daybook_eventlog::{
    Answer, Append, AppendError, Cause, Decided, ExecuteError, ExpectedVersion, Filter, Log, Position, Repository,
    from_micros,
};
use futures::{StreamExt, future::join_all};
use uuid::Uuid;

use super::nodes;
use crate::conformance::{
    append_any, assert_gapless, event, everything, run_of_events, stream, try_append, within_a_minute,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_are_gapless_and_in_commit_order_over_nodes() {
    let Some((_place, nodes)) = nodes::<3>().await else { return };
    let acknowledged = Arc::new(AtomicU64::new(0));
    let writers = (0..24_u64).map(|writer| {
        let (log, acknowledged) = (nodes[usize::try_from(writer % 3).unwrap()].clone(), Arc::clone(&acknowledged));
        tokio::spawn(async move {
            for n in 0..20 {
                let before = acknowledged.load(Ordering::Acquire);
                let name = if n % 2 == 0 { "shared-1".to_owned() } else { format!("own-{writer}") };
                let appended = append_any(&log, &name, run_of_events("Updated", 1 + n % 3)).await;
                assert!(appended.positions[0].get() > before, "acknowledged earlier by any node stands earlier");
                acknowledged.fetch_max(appended.last.get(), Ordering::AcqRel);
            }
        })
    });
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    let of_nodes = join_all(nodes.iter().map(|log| async {
        assert_eq!(log.stored_head().await.unwrap().get(), 24 * (7 + 14 + 18));
        everything(log).await
    }));
    let of_nodes = of_nodes.await;
    assert_gapless(&of_nodes[0]);
    assert_eq!(of_nodes[0].len(), 24 * (7 + 14 + 18));
    assert!(of_nodes[0].windows(2).all(|pair| pair[0].recorded_at <= pair[1].recorded_at));
    assert!(of_nodes.iter().all(|events| *events == of_nodes[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_sent_to_both_nodes_is_written_once() {
    let Some((_place, [here, there])) = nodes::<2>().await else { return };
    for n in 0..30 {
        let events = run_of_events("Started", 1 + n % 3);
        let (one, other) =
            tokio::join!(append_any(&here, "reader-1", events.clone()), append_any(&there, "reader-1", events.clone()));
        assert_eq!(one.positions, other.positions);
        assert!(one.repeated != other.repeated, "one of them wrote it");
    }
    assert_gapless(&everything(&here).await);
    assert_eq!(everything(&here).await.len(), 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expectations_hold_over_nodes() {
    let Some((_place, nodes)) = nodes::<2>().await else { return };
    for round in 0..40 {
        let racers = nodes.iter().flat_map(|log| [log, log]).map(|log| {
            let expected = ExpectedVersion::before(round);
            try_append(log, Append::to(stream("reader-1"), expected, vec![event("Started", round)]))
        });
        let outcomes = join_all(racers).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        let is_conflict =
            |outcome: &&Result<_, _>| matches!(outcome, Err(AppendError::Conflict { next, .. }) if *next == round + 1);
        assert_eq!(outcomes.iter().filter(is_conflict).count(), 3, "{outcomes:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_decision_rests_on_what_was_before_another_node_wrote() {
    let Some((_place, nodes)) = nodes::<2>().await else { return };
    let [here, there] = nodes.map(|log| Repository::<ReaderDecider>::new(log, 100));
    let reader = stream("reader-1");
    let ok = |_: Decided<'_, ReaderDecider>| Answer::default();
    let now = from_micros(1_700_000_000_000_000);
    let start = |session| ReaderCommand::Start {
        session_id: Uuid::from_u128(session),
        user_id: Uuid::from_u128(1),
        book_id: Uuid::from_u128(2),
        start_position: daybook_domain::reading::Percent::new(0).unwrap(),
        device_type: None,
        timezone: None,
        now,
    };
    let update = |session| ReaderCommand::Update {
        session_id: Uuid::from_u128(session),
        position: daybook_domain::reading::Percent::new(9).unwrap(),
        now,
    };
    let named = |name: &str| ReaderCommand::ChangeProfile {
        user_id: Uuid::from_u128(1),
        timezone: None,
        display_name: Some(Some(name.to_owned())),
        now,
    };
    let cause = Cause::default();
    here.execute(&reader, &start(1), &cause, ok).await.unwrap();
    there.execute(&reader, &start(2), &cause, ok).await.unwrap();
    here.execute(&reader, &update(2), &cause, ok).await.expect("the session was started on the other node");
    let rejected = there.execute(&reader, &update(1), &cause, ok).await;
    assert!(matches!(rejected, Err(ExecuteError::Rejected(_))));

    here.execute(&reader, &named("Anna"), &cause, ok).await.unwrap();
    there.execute(&reader, &named("Boris"), &cause, ok).await.unwrap();
    let changed = here.execute(&reader, &named("Anna"), &cause, ok).await.unwrap();
    let nothing = there.execute(&reader, &named("Anna"), &cause, ok).await.unwrap();
    assert_eq!(changed.position, nothing.position, "there was something to do here, and then nothing there");
}

/// Waits for each append of `from` to come through a subscription on `to`.
async fn tell(from: &Log, to: &Log, times: u64) -> Duration {
    let page = NonZeroUsize::new(10).unwrap();
    let mut pages = Box::pin(to.subscribe(from.head(), Filter::all(), page, |event| event.id));
    let begun = Instant::now();
    for n in 0..times {
        let told = event("Started", n);
        append_any(from, "reader-1", vec![told.clone()]).await;
        assert_eq!(pages.next().await.unwrap().unwrap().events, [told.id]);
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_hears_of_other_nodes_at_once() {
    let Some((_place, [here, there])) = nodes::<2>().await else { return };
    // Asking twice a second would take half a second for each.
    let took = within_a_minute(tell(&here, &there, 30)).await;
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_hears_of_other_nodes_also_when_notifications_get_lost() {
    let Some((place, [here, there])) = nodes::<2>().await else { return };
    for _ in 0..5 {
        let telling = tell(&here, &there, 3);
        place.cut("daybook listener");
        within_a_minute(telling).await;
    }
    // Nobody is told of this one at all.
    let mut session = place.session().await;
    let unheard = here.head().plus(1);
    write_by_hand(&mut session, unheard.get(), "BEGIN", "COMMIT").await;
    let mut head = there.watch_head();
    let known = within_a_minute(head.wait_for(|head| *head >= unheard)).await.map(|head| *head);
    assert_eq!(known.unwrap(), unheard);
}

/// A transaction of another node, begun or ended as told, that writes the event at `position` without telling anybody.
async fn write_by_hand(session: &mut sqlx::PgConnection, position: u64, begin: &str, end: &str) {
    let id = Uuid::new_v4();
    let sql = format!(
        "{begin}; SELECT FROM head FOR UPDATE;
         INSERT INTO streams SELECT {position}, 'slow-' || {position};
         INSERT INTO kinds SELECT {position}, 'slow', 'Slow' WHERE NOT EXISTS (SELECT FROM kinds WHERE category = 'slow');
         INSERT INTO events SELECT {position}, {position}, 0, kind_id, 0, 0, 0, '{id}', 1, '{{}}', '{{}}'
         FROM kinds WHERE category = 'slow';
         UPDATE head SET position = {position}; {end}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(session).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_transaction_is_not_overtaken() {
    let Some((place, [here, there])) = nodes::<2>().await else { return };
    append_any(&here, "reader-1", vec![event("Started", 1)]).await;
    let mut slow = place.session().await;
    write_by_hand(&mut slow, 2, "BEGIN", "").await;

    let behind = {
        let here = here.clone();
        tokio::spawn(async move { append_any(&here, "reader-1", vec![event("Ended", 1)]).await })
    };
    // Until it waits for the lock, seen from outside.
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                   AND application_name = 'daybook writer' AND wait_event_type = 'Lock'";
    while place.sql(waiting).unwrap() == "0" {
        tokio::task::yield_now().await;
    }
    for log in [&here, &there] {
        assert_eq!(log.stored_head().await.unwrap(), Position::new(1));
        assert_eq!(everything(log).await.len(), 1, "nothing behind a gap is seen");
    }
    assert!(!behind.is_finished());
    sqlx::raw_sql("COMMIT").execute(&mut slow).await.unwrap();

    assert_eq!(behind.await.unwrap().last, Position::new(3));
    let mut head = there.watch_head();
    head.wait_for(|head| head.get() == 3).await.unwrap();
    let events = everything(&there).await;
    assert_gapless(&events);
    assert_eq!((events.len(), &*events[1].event_type), (3, "Slow"));
}
