//! Lists.

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::http::Problem;
use crate::http::fields::Fields;
use crate::http::paging::Paging;

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub struct Page<T> {
    items: Vec<T>,
    /// On all pages.
    total: u64,
    page: u32,
    page_size: u32,
    has_next: bool,
}

impl<T> Page<T> {
    pub fn new(paging: Paging, items: Vec<T>, total: u64) -> Self {
        Self { items, total, page: paging.page, page_size: paging.page_size, has_next: paging.has_next(total) }
    }
}

/// Which page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query; `Paging` reads it")]
pub struct PageQuery {
    /// From 1.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 4_294_967_295_u32, default = 1)]
    page: Option<u32>,
    #[param(minimum = 1, maximum = 100, default = 20)]
    page_size: Option<u32>,
}

pub fn paging(query: &str) -> Result<Paging, Problem> {
    let mut fields = Fields::from_query(query);
    let paging = Paging::read(&mut fields);
    fields.finish()?;
    Ok(paging)
}
