//! Stored state from outside: stores, journal, objects, restore and compaction.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

mod copies;
mod history;
mod journal;
mod objects;
mod remote;
mod sealed;
mod speed;
mod stores;
mod tables;
