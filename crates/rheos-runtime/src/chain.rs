//! Stateless operators, run one after another without a hop between them.

use std::collections::BTreeMap;

use rheos_core::operator::{Counter, OperatorContext, Port, Progress};
use rheos_core::{Operator, Result};

use arrow::record_batch::RecordBatch;

/// One link with the number of its node.
pub(crate) struct Link {
    pub(crate) node: usize,
    pub(crate) operator: Box<dyn Operator>,
    ctx: OperatorContext,
    /// Rows in and out, and what the operator counts, since they were taken.
    counted: (u64, u64, BTreeMap<Counter, u64>),
}

impl Link {
    pub(crate) fn new(node: usize, operator: Box<dyn Operator>) -> Self {
        Self { node, operator, ctx: OperatorContext::default(), counted: Default::default() }
    }
}

impl Link {
    /// Rows in and out, and what the operator has counted, since the last call.
    pub(crate) fn take_counted(&mut self) -> (u64, u64, BTreeMap<Counter, u64>) {
        std::mem::take(&mut self.counted)
    }
}

/// A fused chain.
pub(crate) struct Chain {
    pub(crate) links: Vec<Link>,
}

impl Chain {
    /// Runs a batch through all links; `out` gets what leaves the last one, as the main output of its node, and the dead
    /// letters of each. `metrics` are told the rows in and out of each.
    pub(crate) fn apply(
        &mut self,
        batch: RecordBatch,
        metrics: &[crate::metrics::NodeMetrics],
        out: &mut dyn FnMut(usize, Port, RecordBatch),
    ) -> Result<()> {
        let last = self.links.last().map_or(0, |link| link.node);
        apply_from(&mut self.links, last, batch, metrics, out)
    }
}

fn apply_from(
    links: &mut [Link],
    last: usize,
    batch: RecordBatch,
    metrics: &[crate::metrics::NodeMetrics],
    out: &mut dyn FnMut(usize, Port, RecordBatch),
) -> Result<()> {
    let Some((link, rest)) = links.split_first_mut() else {
        out(last, Port::MAIN, batch);
        return Ok(());
    };
    metrics[link.node].add_in(batch.num_rows());
    link.counted.0 += batch.num_rows() as u64;
    let mut progress = link.operator.on_batch(0, batch, &mut link.ctx)?;
    loop {
        for (port, part) in link.ctx.take_emitted() {
            if port != Port::MAIN {
                out(link.node, port, part);
                continue;
            }
            metrics[link.node].add_out(part.num_rows());
            link.counted.1 += part.num_rows() as u64;
            apply_from(rest, last, part, metrics, out)?;
        }
        if progress == Progress::Done {
            break;
        }
        progress = link.operator.resume(&mut link.ctx)?;
    }
    for (counter, n) in metrics[link.node].absorb(&mut link.ctx) {
        *link.counted.2.entry(counter).or_default() += n;
    }
    Ok(())
}
