//! Which events a reader wants.

use crate::StreamId;

/// Which events to read; the engine leaves the others out. Empty lists mean "all".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these event types.
    pub types: Vec<String>,
    /// Only streams of these categories.
    pub categories: Vec<String>,
    /// Only this stream.
    pub stream: Option<StreamId>,
}

impl Filter {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Only events of these types.
    #[must_use]
    pub fn types<T: Into<String>>(types: impl IntoIterator<Item = T>) -> Self {
        Self { types: types.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Only events of streams of this category.
    #[must_use]
    pub fn category(category: impl Into<String>) -> Self {
        Self { categories: vec![category.into()], ..Self::default() }
    }

    /// Whether an event of this type in this stream is wanted.
    #[must_use]
    pub fn takes(&self, category: &str, event_type: &str) -> bool {
        (self.types.is_empty() || self.types.iter().any(|wanted| wanted == event_type))
            && (self.categories.is_empty() || self.categories.iter().any(|wanted| wanted == category))
    }

    pub(crate) fn is_by_kind(&self) -> bool {
        !self.types.is_empty() || !self.categories.is_empty()
    }
}
