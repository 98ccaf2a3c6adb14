//! Lists by page.

use super::fields::Fields;

/// Any page that its type can tell: past the end a list is empty.
const PAGE_MAX: i64 = u32::MAX as i64;

/// `page` and `page_size` of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// From 1.
    pub page: u32,
    /// 1 to 100.
    pub page_size: u32,
}

impl Paging {
    /// Takes both; without them it is the first twenty.
    pub fn read(fields: &mut Fields<'_>) -> Self {
        let page = fields.optional_integer("page", 1..=PAGE_MAX).unwrap_or(1);
        let page_size = fields.optional_integer("page_size", 1..=100).unwrap_or(20);
        Self { page: u32::try_from(page).unwrap_or(1), page_size: u32::try_from(page_size).unwrap_or(20) }
    }

    /// How many rows are on the pages before.
    pub fn skip(self) -> u64 {
        u64::from(self.page.saturating_sub(1)) * u64::from(self.page_size)
    }

    /// Whether there are rows after this page.
    pub fn has_next(self, total: u64) -> bool {
        self.skip() + u64::from(self.page_size) < total
    }
}
