//! With which watermarks sources and operators have left an epoch.
//!
//! A frontier tells the smallest epoch that is open anywhere above, and the watermark to which all have come; not that some of
//! them have come to it in a later epoch only. What those have let go behind the watermark is not in the checkpoint of the earlier
//! epoch: a restore lets it go once more. So an operator that is still in that epoch must not fire beyond it: it
//! would expect no rows from there any more, and after a restore to fewer workers take what comes for late. Sources are no
//! exception: one input of a join may be in the next epoch, and at its end, while the other is still in this one.
//!
//! ```text
//!             epoch 5 ends
//!   upstream, worker 0    ──W=10──┤──W=99, fires──►      leaves epoch 5 with 10
//!   upstream, worker 1    ──W=99──────┤──►
//!   downstream, worker 1  ──frontier (5, 99)──┤──►       may come to 10 in epoch 5, and to 99 in epoch 6
//! ```
//! The limit of an operator in an epoch is the smallest watermark with which anything above it has left that epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rheos_core::time::{Epoch, Watermark};
use rheos_core::{JobGraph, NodeId};

use crate::control::lock;

/// Epochs behind the newest that are remembered: no more are open at once.
pub(crate) const EPOCHS_OPEN_MAX: u64 = 1024;

/// See the module. One a generation.
#[derive(Debug)]
pub(crate) struct Closings {
    /// By node: the nodes above it, at any distance.
    above: Vec<Vec<NodeId>>,
    /// By node: the watermarks with which it has left epochs, the least of all workers.
    left: Vec<Mutex<BTreeMap<Epoch, Watermark>>>,
    /// How often an operator has left an epoch: while it stays, all limits do.
    version: AtomicU64,
}

impl Closings {
    pub(crate) fn new(graph: &JobGraph) -> Self {
        let mut above: Vec<BTreeSet<NodeId>> = vec![];
        for node in graph.nodes() {
            // Edges come from smaller ids.
            let inputs = node.inputs.iter().flat_map(|edge| above[edge.from.0].iter().copied().chain([edge.from]));
            above.push(inputs.collect());
        }
        let left = graph.nodes().iter().map(|_| Mutex::default()).collect();
        let above = above.into_iter().map(|nodes| nodes.into_iter().collect()).collect();
        Self { above, left, version: AtomicU64::new(0) }
    }

    /// A source or operator of `node` leaves the epochs from `first` on, before `next`; what it sends in `next` is not before `watermark`. To
    /// be called before others can see that it has left.
    pub(crate) fn close(&self, node: NodeId, first: Epoch, next: Epoch, watermark: Watermark) {
        let mut left = lock(&self.left[node.0]);
        for epoch in first.0.max(next.0.saturating_sub(EPOCHS_OPEN_MAX))..next.0 {
            let least = left.entry(Epoch(epoch)).or_insert(watermark);
            *least = watermark.min(*least);
        }
        let newest = left.keys().next_back().copied().unwrap_or(next);
        let kept = left.split_off(&Epoch(newest.0.saturating_sub(EPOCHS_OPEN_MAX)));
        *left = kept;
        drop(left);
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// How far operators of `node` may come in an epoch.
    fn limit(&self, node: NodeId, epoch: Epoch) -> Watermark {
        let left = self.above[node.0].iter().filter_map(|above| lock(&self.left[above.0]).get(&epoch).copied());
        left.min().unwrap_or(Watermark::MAX)
    }
}

/// The limit of one operator, looked up when any operator has left an epoch: it is asked for with every few batches.
#[derive(Debug)]
pub(crate) struct Limit {
    node: NodeId,
    /// Of which version and epoch, and the limit.
    known: Option<(u64, Epoch, Watermark)>,
}

impl Limit {
    /// Of an operator of `node`.
    pub(crate) fn new(node: NodeId) -> Self {
        Self { node, known: None }
    }

    /// How far the operator may come in an epoch. Ask after a look at the frontier.
    pub(crate) fn in_epoch(&mut self, closings: &Closings, epoch: Epoch) -> Watermark {
        // First: what changes behind this is looked up the next time.
        let version = closings.version.load(Ordering::SeqCst);
        match self.known {
            Some((of, at, limit)) if (of, at) == (version, epoch) => limit,
            _ => {
                let limit = closings.limit(self.node, epoch);
                self.known = Some((version, epoch, limit));
                limit
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Schema;
    use rheos_core::Port;
    use rheos_core::graph::{Edge, Exchange, NodeKind};

    use super::*;

    /// 0 and 1, and 2 below 1, and 3 below 2.
    fn closings() -> Closings {
        let mut graph = JobGraph::default();
        let side = || NodeKind::Side(Arc::new(Schema::empty()));
        let first = graph.add("a", side(), vec![]);
        let second = graph.add("b", side(), vec![]);
        let below = |from| vec![Edge { from, port: Port::MAIN, exchange: Exchange::Forward }];
        let third = graph.add("c", side(), below(second));
        let fourth = graph.add("d", side(), below(third));
        assert_eq!([first.0, second.0, third.0, fourth.0], [0, 1, 2, 3]);
        Closings::new(&graph)
    }

    #[test]
    fn the_least_watermark_with_which_anything_above_left_limits_an_epoch() {
        let closings = closings();
        let mut asked = Limit::new(NodeId(3));
        let mut limits = |node, epochs: [u64; 5]| {
            epochs.map(|epoch| {
                let limit = closings.limit(NodeId(node), Epoch(epoch));
                if node == 3 {
                    assert_eq!([(); 2].map(|()| asked.in_epoch(&closings, Epoch(epoch))), [limit; 2]);
                }
                limit
            })
        };
        assert_eq!(limits(3, [3, 4, 5, 6, 7]), [Watermark::MAX; 5]);
        closings.close(NodeId(0), Epoch(3), Epoch(9), Watermark::MIN);
        closings.close(NodeId(1), Epoch(4), Epoch(6), Watermark(10));
        closings.close(NodeId(2), Epoch(5), Epoch(6), Watermark(99));
        closings.close(NodeId(2), Epoch(6), Epoch(7), Watermark(99));
        let own = [Watermark::MAX, Watermark(10), Watermark(10), Watermark(99), Watermark::MAX];
        assert_eq!(limits(3, [3, 4, 5, 6, 7]), own);
        assert_eq!(limits(1, [3, 4, 5, 6, 7]), [Watermark::MAX; 5], "nothing is above it");
        closings.close(NodeId(1), Epoch(6 + EPOCHS_OPEN_MAX), Epoch(7 + EPOCHS_OPEN_MAX), Watermark(100));
        assert_eq!(closings.limit(NodeId(2), Epoch(5)), Watermark::MAX, "so old an epoch is not open");
    }
}
