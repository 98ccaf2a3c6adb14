//! What holds for books, readers and shops, told as facts.

mod book;
mod calendar;
mod given;
mod money;
mod random_readers;
mod random_shops;
mod reader;
mod registry;
mod sales;
mod shop;
mod shop_given;
mod stock;
mod stored_events;
mod stored_shop_events;
