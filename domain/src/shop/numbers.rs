//! The invoice numbers a shop used last, and new ones for sales that come without.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::events::SaleRecorded;
use super::values::ShopId;

/// How many invoice numbers a shop remembers itself; about a week of a busy one.
pub const RECENT_NUMBERS_MAX: usize = 8192;

/// The invoice numbers used last, each with its sale's fingerprint; the oldest is forgotten first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct RecentNumbers {
    order: VecDeque<Arc<str>>,
    fingerprints: HashMap<Arc<str>, Arc<str>>,
    /// How many sales the shop has recorded.
    recorded: u64,
    generated: Option<Generated>,
}

/// The last second in which numbers were generated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Generated {
    /// What all numbers of the second begin with: `VENTE-2-20251029024500-`.
    prefix: Arc<str>,
    /// The index after the highest one used.
    next: u64,
    /// How many sales the shop had recorded before the second.
    recorded_before: u64,
}

/// The shape in snapshots: oldest number first.
#[derive(Serialize, Deserialize)]
struct Stored {
    numbers: Vec<(Arc<str>, Arc<str>)>,
    recorded: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generated: Option<Generated>,
}

/// The invoice number of the sale at `index` of a batch that came `now`: `VENTE-2-20251029024500-0`.
#[must_use]
pub fn generated_number(shop_id: ShopId, now: DateTime<Utc>, index: u64) -> String {
    format!("{}{index}", generated_prefix(shop_id, now))
}

/// What all numbers generated in one second begin with.
pub(super) fn generated_prefix(shop_id: ShopId, now: DateTime<Utc>) -> String {
    format!("VENTE-{shop_id}-{}-", now.format("%Y%m%d%H%M%S"))
}

impl RecentNumbers {
    /// The fingerprint of the sale with this number, if it is remembered.
    #[must_use]
    pub fn fingerprint(&self, number: &str) -> Option<&str> {
        self.fingerprints.get(number).map(|fingerprint| &**fingerprint)
    }

    /// Whether every number the shop ever used is here: then there is nothing to look up elsewhere.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.has_forgotten_since(0)
    }

    /// Whether the shop has ever sold anything.
    #[must_use]
    pub fn has_sold(&self) -> bool {
        self.recorded > 0
    }

    /// Remembers the sale's number.
    pub(super) fn remember(&mut self, sale: &SaleRecorded) {
        if sale.number_generated {
            self.remember_generated(&sale.numero_facture);
        }
        self.recorded += 1;
        let number: Arc<str> = sale.numero_facture.as_str().into();
        if self.fingerprints.insert(Arc::clone(&number), sale.fingerprint.as_str().into()).is_none() {
            self.order.push_back(number);
        }
        if self.order.len() > RECENT_NUMBERS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.fingerprints.remove(&oldest);
        }
    }

    fn remember_generated(&mut self, number: &str) {
        let (Some(prefix), index) = (number.rfind('-').map(|dash| &number[..=dash]), index_of(number)) else {
            return;
        };
        match &mut self.generated {
            Some(last) if *last.prefix == *prefix => last.next = last.next.max(index.saturating_add(1)),
            last => {
                let next = index.saturating_add(1);
                *last = Some(Generated { prefix: prefix.into(), next, recorded_before: self.recorded });
            }
        }
    }

    /// The number with an index from `place` on that is free in the second of `prefix`, and that index, as far as the
    /// shop remembers and `is_taken` says: `place` itself, or the first free one that is not below `floor` either.
    ///
    /// A second whose `place` is taken goes on behind its highest index, which is faster than counting. So does one in
    /// which more sales were recorded than are remembered: not even a forgotten number comes back.
    pub(super) fn free_number(
        &self,
        prefix: &str,
        place: u64,
        floor: u64,
        is_taken: impl Fn(&str) -> bool,
    ) -> (u64, String) {
        let free = |index: u64| {
            let number = format!("{prefix}{index}");
            let is_free = !self.fingerprints.contains_key(number.as_str()) && !is_taken(&number);
            is_free.then_some((index, number))
        };
        let same_second = self.generated.as_ref().filter(|last| *last.prefix == *prefix);
        let behind = same_second.map_or(0, |last| last.next).max(place).max(floor);
        let forgotten = same_second.is_some_and(|last| self.has_forgotten_since(last.recorded_before));
        if !forgotten && let Some(found) = free(place) {
            return found;
        }
        let mut index = behind;
        loop {
            if let Some(found) = free(index) {
                return found;
            }
            index = index.wrapping_add(1);
        }
    }

    fn has_forgotten_since(&self, recorded: u64) -> bool {
        self.recorded.saturating_sub(recorded) > RECENT_NUMBERS_MAX as u64
    }
}

/// The number behind the last dash; zero when there is none.
fn index_of(number: &str) -> u64 {
    number.rsplit('-').next().and_then(|index| index.parse().ok()).unwrap_or_default()
}

impl From<Stored> for RecentNumbers {
    fn from(stored: Stored) -> Self {
        let Stored { numbers, recorded, generated } = stored;
        Self {
            order: numbers.iter().map(|(number, _)| Arc::clone(number)).collect(),
            fingerprints: numbers.into_iter().collect(),
            recorded,
            generated,
        }
    }
}

impl From<RecentNumbers> for Stored {
    fn from(recent: RecentNumbers) -> Self {
        let RecentNumbers { order, mut fingerprints, recorded, generated } = recent;
        let numbers = order.into_iter().filter_map(|number| {
            let fingerprint = fingerprints.remove(&number)?;
            Some((number, fingerprint))
        });
        Self { numbers: numbers.collect(), recorded, generated }
    }
}
