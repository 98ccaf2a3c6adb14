//! The answers kept for repeated requests.

use daybook_eventlog::{
    Answer, Append, AppendError, AppendOutcome, Appended,
    ExpectedVersion::{Any, NoStream},
    KeyLookup, Log, NewEvent, Position, Remember, RequestKey, StoredAnswer,
};
use futures::future::join_all;

use super::{Engine, append_any, event, everything, opened, stream};

fn request(key: &str, body: u8) -> RequestKey {
    RequestKey {
        caller: "anna".to_owned(),
        route: "POST /sessions".to_owned(),
        key: key.to_owned(),
        fingerprint: [body; 32],
    }
}

/// The answer names the positions, so that it tells which append made it.
fn answer(appended: &Appended) -> Answer {
    Answer(format!("201{:?}", appended.positions).into_bytes())
}

fn remember(key: RequestKey) -> Option<Remember> {
    Some(Remember { key, answer: Box::new(answer) })
}

async fn ask(log: &Log, key: RequestKey, events: Vec<NewEvent>) -> Result<AppendOutcome, AppendError> {
    log.append(Append::to(stream("reader-1"), Any, events).remembering(remember(key))).await
}

fn stored(position: u64, positions: &str) -> StoredAnswer {
    let answer = Answer(format!("201{positions}").into_bytes());
    StoredAnswer { answer, position: Position::new(position) }
}

pub async fn an_answer_is_kept_with_its_events<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    append_any(&log, "reader-1", vec![event("Started", 0)]).await;
    assert_eq!(log.remembered(&request("k", 1)).await.unwrap(), KeyLookup::Unknown);

    let first = ask(&log, request("k", 1), vec![event("Ended", 1), event("Started", 2)]).await.unwrap();

    assert!(matches!(first, AppendOutcome::Appended(appended) if appended.last == Position::new(3)));
    let kept = stored(3, "[Position(2), Position(3)]");
    assert_eq!(log.remembered(&request("k", 1)).await.unwrap(), KeyLookup::Answered(kept.clone()));
    let again = ask(&log, request("k", 1), vec![event("Ended", 1)]).await.unwrap();
    assert_eq!(again, AppendOutcome::Remembered(kept));
    assert_eq!(everything(&log).await.len(), 3);
}

pub async fn a_request_may_be_of_any_characters<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    // Whatever an engine makes of them, they are different.
    let odd = ["\0", "a\0", "\u{10ffff}0", "\u{10ffff}", "\u{10ffff}1", "'\"\\"];
    let requests = odd.iter().flat_map(|odd| {
        let [mut caller, mut route, key] = [request("k", 1), request("k", 1), request(odd, 1)];
        caller.caller = (*odd).to_owned();
        route.route = (*odd).to_owned();
        [caller, route, key]
    });
    for (n, request) in requests.enumerate() {
        assert_eq!(log.remembered(&request).await.unwrap(), KeyLookup::Unknown, "{request:?}");
        let first = ask(&log, request.clone(), vec![event("Started", n as u64)]).await.unwrap();
        assert!(matches!(first, AppendOutcome::Appended(_)), "{request:?}");
        assert!(matches!(log.remembered(&request).await.unwrap(), KeyLookup::Answered(_)), "{request:?}");
        let again = ask(&log, request.clone(), vec![event("Started", n as u64)]).await.unwrap();
        assert!(matches!(again, AppendOutcome::Remembered(_)), "{request:?}");
    }
    assert_eq!(everything(&log).await.len(), odd.len() * 3);
}

pub async fn a_concurrent_repetition_gets_the_first_answer<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    for n in 1..=20 {
        let key = format!("k{n}");
        let outcomes = join_all((0..6).map(|_| ask(&log, request(&key, 1), vec![event("Started", n)]))).await;
        let (written, remembered): (Vec<_>, Vec<_>) =
            outcomes.into_iter().map(Result::unwrap).partition(|outcome| matches!(outcome, AppendOutcome::Appended(_)));
        assert_eq!(written.len(), 1);
        let first = AppendOutcome::Remembered(stored(n, &format!("[Position({n})]")));
        assert!(remembered.iter().all(|outcome| *outcome == first), "{remembered:?}");
    }
    assert_eq!(everything(&log).await.len(), 20);
}

pub async fn another_body_under_the_same_key_is_refused<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    ask(&log, request("k", 1), vec![event("Started", 1)]).await.unwrap();
    let other = ask(&log, request("k", 2), vec![event("Started", 2)]).await;
    assert!(matches!(other, Err(AppendError::KeyReused)), "{other:?}");
    assert_eq!(log.remembered(&request("k", 2)).await.unwrap(), KeyLookup::OtherBody);

    // Another caller's or another route's key of the same name is another key.
    let boris = RequestKey { caller: "boris".to_owned(), ..request("k", 2) };
    let elsewhere = RequestKey { route: "POST /books".to_owned(), ..request("k", 2) };
    for key in [boris, elsewhere] {
        let taken = ask(&log, key, vec![event("Started", 3)]).await.unwrap();
        assert!(matches!(taken, AppendOutcome::Appended(_)));
    }
    assert_eq!(everything(&log).await.len(), 3);
}

pub async fn an_append_without_events_keeps_its_answer<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    append_any(&log, "reader-1", vec![event("Started", 0)]).await;
    ask(&log, request("k", 1), vec![]).await.unwrap();
    append_any(&log, "reader-1", vec![event("Ended", 0)]).await;
    let again = ask(&log, request("k", 1), vec![]).await.unwrap();
    assert_eq!(again, AppendOutcome::Remembered(stored(1, "[]")));
}

pub async fn a_refused_append_keeps_no_answer<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    append_any(&log, "reader-1", vec![event("Started", 0)]).await;
    let refused = Append::to(stream("reader-1"), NoStream, vec![event("Started", 1)]);
    let refused = log.append(refused.remembering(remember(request("k", 1)))).await;
    assert!(matches!(refused, Err(AppendError::Conflict { .. })));
    assert_eq!(log.remembered(&request("k", 1)).await.unwrap(), KeyLookup::Unknown);
    let second_try = ask(&log, request("k", 1), vec![event("Started", 1)]).await.unwrap();
    assert!(matches!(second_try, AppendOutcome::Appended(_)));
}

pub async fn an_answer_survives_a_hard_stop<E: Engine>() {
    let (place, log) = opened::<E>().await;
    ask(&log, request("k", 1), vec![event("Started", 1)]).await.unwrap();
    ask(&log, request("empty", 1), vec![]).await.unwrap();
    let after = place.after_a_hard_stop().await;
    let log = after.open().await;
    let again = ask(&log, request("k", 1), vec![event("Started", 1)]).await.unwrap();
    assert_eq!(again, AppendOutcome::Remembered(stored(1, "[Position(1)]")));
    assert_eq!(log.remembered(&request("empty", 1)).await.unwrap(), KeyLookup::Answered(stored(1, "[]")));
}
