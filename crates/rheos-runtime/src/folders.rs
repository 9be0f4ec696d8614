//! Whether the folders that a job reads, writes and keeps its state in go together.

use std::collections::BTreeMap;
use std::path::Path;

use rheos_core::graph::NodeKind;
use rheos_core::source::Source;
use rheos_core::{Error, ErrorKind, JobGraph, Result};

use crate::beginning::StateConfig;

/// Nothing is started or written.
///
/// Errors: `Conflict` for a job that would delete what it reads (R0235), or read its own state or output (R0410); `Invalid` (R0409)
/// for two tables in one folder.
pub(crate) fn check(graph: &JobGraph, state: Option<&StateConfig>) -> Result<()> {
    check_replaced(graph)?;
    check_own(graph, state)?;
    check_apart(graph)
}

/// Refuses a job that would delete what it reads. Errors: `Conflict` (R0235).
fn check_replaced(graph: &JobGraph) -> Result<()> {
    let reads = |folder: &Path| {
        graph.nodes().iter().any(|n| matches!(&n.kind, NodeKind::Source { source, .. } if source.reads_in(folder)))
    };
    let replaced = graph.nodes().iter().filter_map(|n| match &n.kind {
        NodeKind::Sink(sink) => sink.replaces(),
        _ => None,
    });
    for folder in replaced {
        if reads(&folder) {
            let message =
                format!("'sink.if-exists' = 'replace' would delete files in '{}' that the job reads", folder.display());
            return Err(Error::new(ErrorKind::Conflict, 235, message)
                .with_hint("write to another folder, or set 'sink.if-exists' to 'append' to keep what is there"));
        }
    }
    Ok(())
}

/// Refuses a job that would read its own state, or its own output for ever. Errors: `Conflict` (R0410).
fn check_own(graph: &JobGraph, state: Option<&StateConfig>) -> Result<()> {
    let reader = |reads: &dyn Fn(&dyn Source) -> bool| {
        graph.nodes().iter().find(|n| matches!(&n.kind, NodeKind::Source { source, .. } if reads(source.as_ref())))
    };
    let refused = |message: String, hint: &str| Err(Error::new(ErrorKind::Conflict, 410, message).with_hint(hint));
    for folder in state.into_iter().flat_map(|state| state.store.folders()) {
        if let Some(table) = reader(&|source| source.reads_in(folder)) {
            let message =
                format!("'{}' reads files in '{}', where the job keeps its state", table.name, folder.display());
            return refused(message, "keep state outside of the folders that the job reads, and move that folder away");
        }
    }
    for node in graph.nodes() {
        let NodeKind::Sink(sink) = &node.kind else { continue };
        let Some(folder) = sink.folder() else { continue };
        if let Some(table) = reader(&|source| source.follows_in(&folder)) {
            let (from, to) = (&table.name, &node.name);
            let message = format!(
                "'{from}' reads each new file in '{}', where '{to}' writes: the job would read its own output for ever",
                folder.display()
            );
            return refused(message, "write to a folder outside of those that the job follows");
        }
    }
    Ok(())
}

/// Refuses two tables that write to one folder: each would take the other's files for its own. Errors: `Invalid` (R0409).
fn check_apart(graph: &JobGraph) -> Result<()> {
    let mut folders = BTreeMap::new();
    for node in graph.nodes() {
        let NodeKind::Sink(sink) = &node.kind else { continue };
        let Some(folder) = sink.folder() else { continue };
        if let Some(other) = folders.insert(folder.clone(), &node.name) {
            let message = format!("'{other}' and '{}' both write to '{}'", node.name, folder.display());
            return Err(Error::invalid(409, message)
                .with_hint("insert into one table as often as you like, or give each table a folder of its own"));
        }
    }
    Ok(())
}
