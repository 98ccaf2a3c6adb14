//! 1. An append that was acknowledged survives.

use daybook_eventlog::{AppendError, Direction, ExpectedVersion, Filter, Position, ReadError};

use super::{Engine, append, append_any, assert_gapless, event, everything, run_of_events, stream, try_append};

pub async fn acknowledged_appends_survive_a_hard_stop<E: Engine>() {
    let place = E::fresh().await;
    let log = place.open().await;
    append_any(&log, "reader-1", vec![event("Started", 1)]).await;
    append_any(&log, "reader-2", run_of_events("Started", 3_000)).await;
    append_any(&log, "reader-1", vec![event("Ended", 2)]).await;

    let after = place.after_a_hard_stop().await;

    let reopened = after.open().await;
    assert_eq!(reopened.head(), Position::new(3_002));
    assert_eq!(everything(&reopened).await, everything(&log).await);
}

pub async fn the_log_goes_on_where_a_hard_stop_left_it<E: Engine>() {
    let place = E::fresh().await;
    let log = place.open().await;
    append_any(&log, "reader-1", vec![event("Started", 1), event("Ended", 2)]).await;
    let after = place.after_a_hard_stop().await;
    let reopened = after.open().await;

    let appended = append(&reopened, "reader-1", ExpectedVersion::Exact(1), vec![event("Started", 3)]).await;

    assert_eq!(appended.last, Position::new(3));
    assert_gapless(&everything(&reopened).await);
}

pub async fn a_closed_log_is_whole_when_it_is_opened_again<E: Engine>() {
    let place = E::fresh().await;
    let mut before = Vec::new();
    for round in 0..3 {
        let log = place.open().await;
        assert_eq!(everything(&log).await, before);
        append_any(&log, "reader-1", run_of_events("Started", 700)).await;
        append_any(&log, &format!("reader-{round}"), vec![event("Ended", round)]).await;
        before = everything(&log).await;
        log.close().await;
    }
    assert_eq!(before.len(), 3 * 701);
    assert_gapless(&before);
}

pub async fn a_closed_log_refuses_appends_and_reads<E: Engine>() {
    let place = E::fresh().await;
    let log = place.open().await;
    append_any(&log, "reader-1", vec![event("Started", 1)]).await;

    log.close().await;

    let to = daybook_eventlog::Append::to(stream("reader-1"), ExpectedVersion::Any, vec![event("Ended", 2)]);
    assert!(matches!(try_append(&log, to).await, Err(AppendError::Closed)));
    assert!(matches!(log.read_all(Position::START, 1, &Filter::all()).await, Err(ReadError::Closed)));
    let page = log.read_stream(&stream("reader-1"), None, Direction::Forward, 1).await;
    assert!(matches!(page, Err(ReadError::Closed)));
    assert!(!log.is_writable().await);
}
