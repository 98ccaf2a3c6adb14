//! What holds for books and readers, told as facts.

mod book;
mod calendar;
mod given;
mod random_readers;
mod reader;
mod stored_events;
