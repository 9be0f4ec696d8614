//! `v$late`: the late rows of the windows over a table or view, put together.
//!
//! ```text
//!   rows of v ──► late ──► TUMBLE, HOP, CUMULATE        rows of v ──► session (its rows, then the aggregate)
//!                  └──┐                                                  └──┐
//!                     └───────────────► late:v ◄────────────────────────────┘
//! ```

use rheos_core::NodeId;
use rheos_core::Port;
use rheos_core::error::{Error, Result, Span};
use rheos_core::graph::{Edge, Exchange};
use rheos_operators::{LatePort, plan};

use super::stream::{Slot, Stream};
use super::{Lowering, edge};
use crate::catalog::match_name;
use crate::side::{LATE_SUFFIX, LateSource};
use crate::windows::WindowNode;

/// Of a job: what reads late rows, and what gives them.
#[derive(Default)]
pub(super) struct LateParts {
    pub(super) relations: Vec<LateRelation>,
    /// The table or view as it was declared, and the node with the port.
    givers: Vec<(String, NodeId)>,
}

/// `v$late`.
pub(super) struct LateRelation {
    /// The table or view as it was declared.
    pub(super) name: String,
    pub(super) node: NodeId,
    /// Where it is read.
    pub(super) at: Option<Span>,
}

impl LateParts {
    /// What feeds the relations. Errors: nothing does.
    pub(super) fn edges(&self) -> Result<Vec<(NodeId, Edge)>> {
        let mut edges = vec![];
        for relation in &self.relations {
            let givers = self.givers.iter().filter(|(name, _)| *name == relation.name);
            let before = edges.len();
            edges
                .extend(givers.map(|(_, n)| (relation.node, Edge { port: Port::LATE, ..edge(*n, Exchange::Forward) })));
            if edges.len() == before {
                let name = &relation.name;
                let what = format!("no window over event time reads '{name}', so '{name}{LATE_SUFFIX}' has no rows");
                let error = Error::invalid(663, what).with_hint(format!(
                    "write TABLE(TUMBLE(TABLE {name}, DESCRIPTOR(ts), INTERVAL '1' HOUR)) in a query that runs"
                ));
                return Err(match relation.at {
                    Some(at) => error.with_span(at),
                    None => error,
                });
            }
        }
        Ok(edges)
    }
}

impl Lowering<'_> {
    /// The stream whose window is pending, without its late rows, if those are read.
    pub(super) fn without_late(&mut self, window: &WindowNode, stream: Stream) -> Result<Stream> {
        let Some(name) = &window.late else { return Ok(stream) };
        if stream.pending.as_ref().is_none_or(|pending| pending.time.is_none()) {
            return Ok(stream);
        }
        let late = self.catalog.late_of(&format!("{name}{LATE_SUFFIX}")).map_err(|e| self.df(e))?;
        let Some(late) = late else { return Ok(stream) };
        // A row that goes cannot be late: what it takes back may be in its window already.
        let stream = self.settled(stream, &format!("{name}{LATE_SUFFIX}"))?;
        let Some(pending) = &stream.pending else { return Ok(stream) };
        let Some(time) = pending.time else { return Ok(stream) };
        let port = self.late_port(window, &stream, &late);
        if !pending.is_session() {
            let node = plan::late_rows(self.graph, stream.node, time, pending.spec, port)?;
            self.late.givers.push((late.name.clone(), node));
            return Ok(Stream { node, ..stream });
        }
        if pending.session_key.is_none() {
            // `GROUP BY session(ts, gap)`: there are no rows with a session to take.
            return Ok(stream);
        }
        // Only rows that are kept can be given away: the aggregate follows behind.
        let stream = self.assigned_with(stream, Some(port))?;
        self.late.givers.push((late.name.clone(), stream.node));
        Ok(stream)
    }

    fn late_port(&self, window: &WindowNode, stream: &Stream, late: &LateSource) -> LatePort {
        let input = window.input.schema();
        let names: Vec<_> = input.fields().iter().map(|f| f.name().as_str()).collect();
        let place = |name: &str| {
            let found = match_name(name, names.iter().copied())?;
            match stream.slots[names.iter().position(|n| *n == found)?] {
                Slot::Column(at) => Some(at),
                Slot::Window(_) => None,
            }
        };
        let own = late.schema.fields().len() - 2;
        let columns = late.schema.fields().iter().take(own).map(|f| place(f.name())).collect();
        LatePort { columns, schema: late.schema.clone() }
    }
}
