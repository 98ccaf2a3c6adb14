//! 7. Reads: the whole log, filtered inside the engine.

use daybook_eventlog::{Direction, EventRef, ExpectedVersion::Any, Filter, Log, Position, Scan, StreamId};

use super::{
    Dice, Engine, append_any, event,
    model::{Fact, Model, facts},
    opened, pages, parts, run_of_events, stream, try_append,
};

/// From frequent to sparse; the last one is never written.
const TYPES: [&str; 6] = ["Updated", "Started", "Ended", "Corrected", "Profile", "Never"];
const CATEGORIES: [&str; 4] = ["reader", "book", "rare", "never"];

fn random_filter(dice: &mut Dice, streams: &[StreamId]) -> Filter {
    let mut filter = Filter::all();
    if dice.below(2) == 0 {
        filter.types = (0..=dice.below(2)).map(|_| (*dice.pick(&TYPES)).to_owned()).collect();
    }
    if dice.below(3) == 0 {
        filter.categories = (0..=dice.below(2)).map(|_| (*dice.pick(&CATEGORIES)).to_owned()).collect();
    }
    if dice.below(3) == 0 {
        filter.stream = Some(dice.pick(streams).clone());
    }
    filter
}

pub async fn filtered_pages_equal_the_model<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    let mut dice = Dice(42);
    let streams: Vec<StreamId> =
        ["reader-1", "reader-2", "book-1", "book", "rare-1", "unknown-1"].map(stream).into_iter().collect();
    let mut model = Model::default();
    while model.facts.len() < 6_000 {
        let event_type = match dice.below(100) {
            0..=69 => "Updated",
            70..=89 => "Started",
            90..=97 => "Ended",
            _ => "Corrected",
        };
        let count = if dice.below(20) == 0 { 300 + dice.below(300) } else { 1 + dice.below(20) };
        let append =
            parts([(streams[usize::try_from(dice.below(4)).unwrap()].clone(), Any, run_of_events(event_type, count))]);
        model.take(&append);
        try_append(&log, append).await.unwrap();
        // Two kinds that occur in a few blocks only, some blocks apart.
        if model.facts.len() / 2_500 > model.facts.iter().filter(|fact| fact.event_type == "Profile").count() {
            let append = parts([(stream("rare-1"), Any, vec![event("Profile", 1)])]);
            model.take(&append);
            try_append(&log, append).await.unwrap();
        }
    }
    for _ in 0..60 {
        let filter = random_filter(&mut dice, &streams);
        let limit = *dice.pick(&[13, 100, 1_024, 20_000]);
        assert_eq!(facts(pages(&log, &filter, limit).await), model.wanted(&filter, Position::START), "{filter:?}");
        let after = Position::new(dice.below(6_000));
        let page = log.read_all(after, limit, &filter).await.unwrap();
        let wanted: Vec<Fact> = model.wanted(&filter, after).into_iter().take(limit).collect();
        assert_eq!(facts(page.events), wanted, "{filter:?} after {after}, at most {limit}");
        let passed = model.wanted(&filter, after).iter().filter(|fact| fact.position <= page.next_after).count();
        assert_eq!(passed, wanted.len(), "next_after passes over what was handed out, and nothing else");

        let until = Position::new(after.get() + dice.below(2_000));
        let mut wanted = model.wanted(&filter, after);
        wanted.retain(|fact| fact.position <= until);
        let up = Scan::forward(after, until, filter.clone()).limit(limit);
        assert_eq!(scanned(&log, up).await, wanted, "{filter:?} after {after} up to {until}");
        let down = Scan { until: after.plus(1), ..Scan::backward(until.plus(1), filter.clone()).limit(limit) };
        wanted.reverse();
        assert_eq!(scanned(&log, down).await, wanted, "{filter:?} from {until} down to above {after}");
    }
}

/// All that a scan wants, in pieces as the engine gives them.
async fn scanned(log: &Log, mut scan: Scan) -> Vec<Fact> {
    let mut found = Vec::new();
    while !scan.is_over() {
        let limit = scan.limit;
        let keep = |facts: &mut Vec<Fact>, event: &EventRef<'_>| facts.push(event.to_recorded().into());
        let (facts, after) = log.fold(scan.clone(), Vec::new(), keep).await.unwrap();
        assert!(facts.len() <= limit);
        // Beyond the head there is nothing to wait for.
        if facts.is_empty() && (after == scan.after || after >= log.head()) && scan.direction == Direction::Forward {
            break;
        }
        assert_ne!(after, scan.after, "a scan that does not move on: {scan:?}");
        found.extend(facts);
        scan.after = after;
    }
    found
}

pub async fn a_moment_is_found_by_recorded_time<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    assert_eq!(log.last_before(chrono::Utc::now()).await.unwrap(), Position::START);
    for n in 0..40 {
        append_any(&log, "reader-1", run_of_events("Updated", 1 + n % 4)).await;
    }
    let events = super::everything(&log).await;
    for moment in events.iter().map(|event| event.recorded_at) {
        for moment in [moment - chrono::TimeDelta::microseconds(1), moment, moment + chrono::TimeDelta::microseconds(1)]
        {
            let before = events.iter().filter(|event| event.recorded_at < moment).count();
            assert_eq!(log.last_before(moment).await.unwrap(), Position::new(before as u64), "{moment}");
        }
    }
}

pub async fn a_rare_event_far_away_is_found<E: Engine>() {
    let (_place, log) = opened::<E>().await;
    append_any(&log, "rare-1", vec![event("Rare", 1)]).await;
    // More positions than one filtered read looks at.
    for _ in 0..14 {
        append_any(&log, "reader-1", run_of_events("Updated", 20_000)).await;
    }
    let last = append_any(&log, "rare-1", vec![event("Rare", 2)]).await.last;
    append_any(&log, "reader-1", run_of_events("Updated", 10)).await;

    let by_stream = Filter { stream: Some(stream("rare-1")), ..Filter::all() };
    for filter in [Filter::types(["Rare"]), Filter::category("rare"), by_stream] {
        let rare: Vec<Position> = pages(&log, &filter, 1_000).await.iter().map(|event| event.position).collect();
        assert_eq!(rare, [Position::new(1), last], "{filter:?}");
        let down = scanned(&log, Scan::backward(log.head().plus(1), filter.clone()).limit(1_000)).await;
        assert_eq!(down.iter().map(|fact| fact.position).collect::<Vec<_>>(), [last, Position::new(1)], "{filter:?}");
    }
    let mut both = Filter::category("rare");
    both.types.push("Updated".to_owned());
    assert_eq!(pages(&log, &both, 1_000).await, []);
}
