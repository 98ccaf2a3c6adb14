//! 7. Reads: the whole log, filtered inside the engine.

use daybook_eventlog::{ExpectedVersion::Any, Filter, Position, StreamId};

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
    }
    let mut both = Filter::category("rare");
    both.types.push("Updated".to_owned());
    assert_eq!(pages(&log, &both, 1_000).await, []);
}
