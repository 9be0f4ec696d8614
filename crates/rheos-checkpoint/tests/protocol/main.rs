//! The protocol of checkpoints: its texts, its decisions one by one, and a model of everything together.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod decisions;
mod manifest;
mod model;
