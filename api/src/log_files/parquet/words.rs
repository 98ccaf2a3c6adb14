//! Texts that come again and again, each kept once.

use std::{collections::HashMap, sync::Arc};

/// Distinct texts in the order in which they came, and for each value its text's place among them.
#[derive(Default)]
pub(super) struct Words {
    distinct: Vec<Arc<str>>,
    known: HashMap<Arc<str>, u32>,
    bytes: usize,
    /// One for each value.
    pub(super) places: Vec<u32>,
}

impl Words {
    /// Adds a value.
    pub(super) fn add(&mut self, text: &str) {
        // The value before is often the same.
        let place = match self.places.last() {
            Some(last) if *self.distinct[*last as usize] == *text => *last,
            _ => self.place_of(text),
        };
        self.places.push(place);
    }

    /// Adds all values of another list.
    pub(super) fn add_all(&mut self, other: &Self) {
        let places: Vec<u32> = other.distinct.iter().map(|text| self.place_of_shared(text)).collect();
        self.places.extend(other.places.iter().map(|place| places[*place as usize]));
    }

    /// The texts, each once.
    pub(super) fn distinct(&self) -> &[Arc<str>] {
        &self.distinct
    }

    /// The bytes of the texts, each counted once.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn place_of(&mut self, text: &str) -> u32 {
        match self.known.get(text) {
            Some(place) => *place,
            None => self.insert(Arc::from(text)),
        }
    }

    fn place_of_shared(&mut self, text: &Arc<str>) -> u32 {
        match self.known.get(text) {
            Some(place) => *place,
            None => self.insert(Arc::clone(text)),
        }
    }

    fn insert(&mut self, text: Arc<str>) -> u32 {
        // A row group has far fewer values than that.
        let place = u32::try_from(self.distinct.len()).unwrap_or(u32::MAX);
        self.bytes += text.len();
        self.distinct.push(Arc::clone(&text));
        self.known.insert(text, place);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(texts: &[&str]) -> Words {
        let mut words = Words::default();
        texts.iter().for_each(|text| words.add(text));
        words
    }

    #[test]
    fn each_text_is_kept_once() {
        let words = words(&["a", "b", "b", "a", "c"]);
        assert_eq!((words.distinct().len(), words.bytes()), (3, 3));
        assert_eq!(words.places, [0, 1, 1, 0, 2]);
    }

    #[test]
    fn a_list_joins_another_by_its_texts() {
        let mut all = words(&["a", "b"]);
        all.add_all(&words(&["c", "b", "c"]));
        assert_eq!(all.places, [0, 1, 2, 1, 2]);
        assert_eq!(all.distinct().len(), 3);
    }
}
