//! A commit whose answer gets lost on the way: a wire between a node and its server that is cut at a chosen word.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use daybook_eventlog::{
    Answer, Append, AppendError, AppendOutcome, Appended, ExpectedVersion, Log, NewEvent, Position, PostgresOptions,
    Remember, RequestKey, StreamAppend,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::nodes;
use crate::{
    Postgres,
    conformance::{Engine, append_any, assert_gapless, event, everything, run_of_events, stream, within_a_minute},
};

/// What the wire does when the node has said the word.
#[derive(Clone, Copy, PartialEq)]
enum Cut {
    /// The server hears it and acts on it, but its answer gets lost.
    After,
    /// The same, and the wire stays cut until somebody mends it.
    AfterAndStays,
    /// The server never hears it.
    Before,
}

#[derive(Default)]
struct Wire {
    armed: Mutex<Option<(&'static [u8], Cut)>>,
    is_down: AtomicBool,
}

/// A node on such a wire, which is cut once, and whole again then.
async fn on_a_wire(place: &Postgres, patience: Duration) -> (Log, Arc<Wire>) {
    let url = place.server().url(&place.database);
    let to = url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through = url.replace(&to, &listener.local_addr().unwrap().to_string());
    let wire = Arc::<Wire>::default();
    tokio::spawn({
        let (wire, direct) = (Arc::clone(&wire), place.open().await);
        async move {
            while let Ok((node, _)) = listener.accept().await {
                if !wire.is_down.load(Ordering::Acquire) {
                    let server = TcpStream::connect(&to).await.unwrap();
                    tokio::spawn(carry(node, server, Arc::clone(&wire), direct.clone()));
                }
            }
        }
    });
    let options = PostgresOptions { patience, ..PostgresOptions::new(through) };
    (Log::connect(&options).await.unwrap(), wire)
}

async fn carry(mut node: TcpStream, mut server: TcpStream, wire: Arc<Wire>, direct: Log) {
    let (mut said, mut heard) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = node.read(&mut said) => {
                let Ok(read @ 1..) = read else { return };
                let is_said = |word: &[u8]| said[..read].windows(word.len()).any(|at| at == word);
                let cut = wire.armed.lock().unwrap().take_if(|(word, _)| is_said(word));
                match cut {
                    None => server.write_all(&said[..read]).await.unwrap(),
                    Some((_, Cut::Before)) => return,
                    Some((_, cut)) => {
                        wire.is_down.store(cut == Cut::AfterAndStays, Ordering::Release);
                        let before = direct.stored_head().await.unwrap();
                        server.write_all(&said[..read]).await.unwrap();
                        // What finds the head moved writes nothing.
                        let cut = async { while direct.stored_head().await.unwrap() == before {} };
                        let _ = tokio::time::timeout(Duration::from_secs(1), cut).await;
                        return;
                    }
                }
            }
            read = server.read(&mut heard) => {
                let Ok(read @ 1..) = read else { return };
                if node.write_all(&heard[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn marked(n: u64) -> NewEvent {
    NewEvent { data: format!("{{\"cut\":\"here\",\"n\":{n}}}"), ..event("Marked", n) }
}

async fn appended(log: &Log, append: Append) -> Appended {
    match within_a_minute(log.append(append)).await.unwrap() {
        AppendOutcome::Appended(appended) => appended,
        AppendOutcome::Remembered(_) => panic!("it was the first"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_looked_up() {
    let Some((place, [other])) = nodes::<1>().await else { return };
    let (log, wire) = on_a_wire(&place, Duration::from_secs(5)).await;
    append_any(&other, "reader-1", run_of_events("Updated", 3)).await;
    for (n, cut) in (0..).zip([Cut::After, Cut::Before, Cut::After, Cut::Before]) {
        *wire.armed.lock().unwrap() = Some((b"\"cut\":\"here\"", cut));
        let first = 4 + 3 * n;
        // Whatever the second part believes, it holds at the first try, and must not be looked at again.
        let parts = vec![
            StreamAppend { stream: stream("book-1"), expected: ExpectedVersion::before(n), events: vec![marked(n)] },
            StreamAppend { stream: stream("book-1"), expected: ExpectedVersion::Exact(n), events: vec![] },
        ];
        let written = appended(&log, Append { parts, remember: None }).await;
        assert_eq!((written.positions, written.repeated), (vec![Position::new(first)], false));
        assert!(wire.armed.lock().unwrap().is_none(), "the wire was cut");
        append_any(&other, "reader-1", run_of_events("Updated", 1)).await;
        // So that it knows where the head is, and writes the next one from memory.
        append_any(&log, "reader-2", run_of_events("Updated", 1)).await;
    }
    let events = everything(&other).await;
    assert_gapless(&events);
    assert_eq!(events.len(), 15);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_of_a_remembered_request_is_looked_up() {
    let Some((place, [other])) = nodes::<1>().await else { return };
    let (log, wire) = on_a_wire(&place, Duration::from_secs(5)).await;
    for (n, cut) in (0..).zip([Cut::After, Cut::Before, Cut::After]) {
        *wire.armed.lock().unwrap() = Some((b"COMMIT\0", cut));
        let key = RequestKey { caller: "a".into(), route: "r".into(), key: n.to_string(), fingerprint: [1; 32] };
        let answer = |appended: &Appended| Answer(format!("{:?}", appended.last).into_bytes());
        let to = Append::to(stream("book-1"), ExpectedVersion::before(n), vec![marked(n)]);
        let remember = Some(Remember { key: key.clone(), answer: Box::new(answer) });
        let written = appended(&log, to.remembering(remember)).await;
        assert_eq!((written.last.get(), written.repeated), (n + 1, false));
        let again = Remember { key, answer: Box::new(answer) };
        let again = other.append(Append::default().remembering(Some(again))).await.unwrap();
        let AppendOutcome::Remembered(stored) = again else { panic!("{again:?}") };
        assert_eq!(stored.answer.0, format!("Position({})", n + 1).into_bytes());
    }
    assert_gapless(&everything(&other).await);
    assert_eq!(everything(&other).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cannot_be_looked_up_is_in_doubt() {
    let Some((place, [other])) = nodes::<1>().await else { return };
    let (log, wire) = on_a_wire(&place, Duration::from_secs(1)).await;
    let marked = marked(1);
    let append = || Append::to(stream("book-1"), ExpectedVersion::NoStream, vec![marked.clone()]);
    *wire.armed.lock().unwrap() = Some((b"\"cut\":\"here\"", Cut::AfterAndStays));

    let doubtful = within_a_minute(log.append(append())).await;
    assert!(matches!(doubtful, Err(AppendError::InDoubt(_))), "{doubtful:?}");
    let known = within_a_minute(log.append(append())).await;
    assert!(matches!(known, Err(AppendError::Unavailable(_))), "this one was not even sent: {known:?}");
    wire.is_down.store(false, Ordering::Release);

    let again = appended(&log, append()).await;
    assert_eq!((again.positions, again.repeated), (vec![Position::new(1)], true));
    assert_eq!(everything(&other).await.len(), 1);
}
