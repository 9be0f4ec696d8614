//! SQL text to a job graph: DDL, event time, windows, planning, and errors that point at their place.
//!
//! ```text
//!   text ─ tokens ─ statement ─┬─ ddl, settings ─► catalog
//!                              └─ query ─ windows ─ optimize ─ lower ─► JobGraph ─ explain ─► text
//! ```
//!
//! Expressions, name resolution and rewriting are DataFusion's; the statements around queries, windows, and what a
//! stream can answer are decided here. Absent on purpose: threads that run anything, connectors, clocks.
//!
//! Invariant: no program makes the planner panic, and every error carries a hint and, where there is a text, a place.

mod absent;
mod cast_names;
mod cast_types;
mod catalog;
mod clock;
mod computed;
mod constants;
mod constraints;
mod costs;
mod ddl;
mod diagnose;
mod dialect;
mod emit;
mod event_time;
mod examples;
mod explain;
mod fields;
mod first_match;
mod floats;
mod functions;
mod grammar;
mod group_casts;
mod group_windows;
mod hints;
mod insert;
mod lateral;
mod lower;
mod metadata;
mod micros;
mod misuse;
mod nested_casts;
mod not_in;
mod null_keys;
mod optimize;
mod proctime;
mod program;
mod push_down;
mod query;
mod quotients;
mod ranking;
mod refuse;
mod reuse;
mod rewrite;
mod scalar;
mod select_names;
mod set_types;
mod sets;
mod settings;
mod side;
mod spelling;
mod statement;
mod statement_set;
mod tokens;
mod types;
mod unnest;
mod using;
mod values;
mod windows;
mod zone;

pub use diagnose::render;
pub use explain::{PlanFormat, explain, explain_as, growth};
pub use functions::{FunctionInfo, FunctionKind, functions};
pub use program::{Output, PlanOptions, Program, ResultRows, ResultSink};
pub use settings::{Emit, EmitMode, RestartSettings, SETTINGS, Settings, StateSettings, check_setting};

use std::collections::BTreeMap;

use rheos_core::connector::ConnectorRegistry;
use rheos_core::error::{Error, Result};

/// Stack of the planning thread: plans are trees, and they are walked by recursion.
const STACK_BYTES: usize = 256 << 20;

/// Plans a program.
///
/// Errors: `Invalid` with the place in `text` and a hint; whatever a connector says about its options or files.
pub fn plan(text: &str, options: &PlanOptions, registry: &ConnectorRegistry) -> Result<Program> {
    on_large_stack(|| program::plan(text, options, registry))
}

/// Where a program and the settings from outside, which win, say that state is to lie. A program is planned as it was at first,
/// which the state knows: so this is asked for before.
///
/// Errors: `Invalid`, as of [`plan`], for a text that is no program and for these settings.
pub fn state_settings(
    text: &str,
    variables: &BTreeMap<String, String>,
    outside: &BTreeMap<String, String>,
) -> Result<StateSettings> {
    on_large_stack(|| program::state_settings(text, variables, outside))
}

fn on_large_stack<T: Send>(here: impl Fn() -> Result<T> + Send + Sync) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("plan".into()).stack_size(STACK_BYTES);
        match thread.spawn_scoped(scope, &here) {
            Ok(planning) => {
                planning.join().unwrap_or_else(|_| Err(Error::internal("the planner failed on this program")))
            }
            Err(_) => here(),
        }
    })
}
