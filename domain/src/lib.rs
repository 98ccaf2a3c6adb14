//! What can happen and what is allowed: events, commands and deciders.
//!
//! Everything here is pure and synchronous: no IO, no clock, no randomness, no time zone look-ups of its own.
//! What a decision needs from outside is looked up by the caller and travels in the command.

pub mod book;
mod catalog;
pub mod decider;
pub mod event;
pub mod instant;
pub mod reading;
pub mod registry;
pub mod shop;
