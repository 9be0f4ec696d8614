//! Sources and sinks, one folder or file a system, behind the contracts of `rheos-core`.
//!
//! ```text
//!   I/O threads ──chunks──► reader (decodes on the worker) ──► ... ──► writer ──batches──► I/O threads
//! ```
//!
//! Invariant: what runs on a worker never blocks; it finds bytes, or says "not yet" and is woken. Absent on purpose: the
//! dataflow runtime and SQL. A connector is found by its name in the [`registry`].

mod blackhole;
pub mod collect;
mod datagen;
mod filesystem;
mod io;
mod narrow;
mod nexmark;
mod numbers;
mod pace;
mod print;
mod stdin;

pub use blackhole::discard;

use rheos_core::connector::ConnectorRegistry;

/// All built-in connectors.
pub fn registry() -> ConnectorRegistry {
    let mut registry = ConnectorRegistry::default();
    for connector in [
        blackhole::connector(),
        datagen::connector(),
        filesystem::connector(),
        nexmark::connector(),
        print::connector(),
        stdin::connector(),
    ] {
        registry.register(connector);
    }
    registry
}
