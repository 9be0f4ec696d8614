//! Partitions on a disk, and on one that loses power, fails, or is full.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

mod batches;
mod faults;
mod partition;
mod power;
mod power_disk;
mod topics;
