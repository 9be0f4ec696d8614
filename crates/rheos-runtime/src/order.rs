//! Which bounded source is read before which. Pure.
//!
//! A join that keeps the rows of one input until the other has ended keeps few if the small one is read first:
//!
//! ```text
//!   small source ──► ... ──┐
//!                          ├──► join          the large source waits until all of the small one has been read
//!   large source ──► ... ──┘
//! ```
//! It is an order of reading alone: no result, no watermark and no state depends on it.

use std::collections::{BTreeMap, BTreeSet};

use rheos_core::NodeId;
use rheos_core::graph::{JobGraph, NodeKind};

/// How many times larger than what it waits for a source is, at least: where the sizes tell little, both are read at once.
const TIMES_LARGER: u64 = 2;

type Sources = BTreeSet<NodeId>;

/// For each source that waits: for which. `bytes`: what is left to be read of each source, where that is known.
pub(crate) fn waits(graph: &JobGraph, bytes: &BTreeMap<NodeId, u64>) -> BTreeMap<NodeId, Sources> {
    let inputs = graph.nodes().iter().filter_map(|node| match (&node.kind, node.inputs.as_slice()) {
        (NodeKind::Stateful(factory), [a, b]) if factory.keeps_until_an_end() => {
            Some([a, b].map(|edge| sources(graph, edge.from)))
        }
        _ => None,
    });
    waits_of(inputs, bytes)
}

/// The same, of what is below the two inputs of each join. No source waits for one that waits for it.
fn waits_of(joins: impl Iterator<Item = [Sources; 2]>, bytes: &BTreeMap<NodeId, u64>) -> BTreeMap<NodeId, Sources> {
    let mut waits: BTreeMap<NodeId, Sources> = BTreeMap::new();
    for [a, b] in joins {
        let size = |sources: &Sources| sources.iter().map(|source| bytes.get(source).copied()).sum::<Option<u64>>();
        let (Some(bytes_a), Some(bytes_b)) = (size(&a), size(&b)) else { continue };
        let is_small = |bytes: u64, other: u64| bytes.saturating_mul(TIMES_LARGER) <= other;
        let (first, second) = match (is_small(bytes_a, bytes_b), is_small(bytes_b, bytes_a)) {
            (true, false) => (a, b),
            (false, true) => (b, a),
            _ => continue,
        };
        let turns_back = first.iter().any(|f| second.iter().any(|s| f == s || comes_behind(&waits, *f, *s)));
        if !turns_back {
            second.into_iter().for_each(|source| waits.entry(source).or_default().extend(&first));
        }
    }
    waits
}

/// The sources whose rows come to a node.
fn sources(graph: &JobGraph, node: NodeId) -> Sources {
    let (mut seen, mut left, mut found) = (BTreeSet::new(), vec![node], BTreeSet::new());
    while let Some(node) = left.pop() {
        if !seen.insert(node) {
            continue;
        }
        if matches!(graph.node(node).kind, NodeKind::Source { .. }) {
            found.insert(node);
        }
        left.extend(graph.node(node).inputs.iter().map(|edge| edge.from));
    }
    found
}

/// Whether `source` waits for `other`, or for one that does.
fn comes_behind(waits: &BTreeMap<NodeId, Sources>, source: NodeId, other: NodeId) -> bool {
    waits.get(&source).is_some_and(|before| before.iter().any(|b| *b == other || comes_behind(waits, *b, other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sources by number; their sizes in bytes by their place, 0 for unknown.
    fn waits(joins: &[[&[usize]; 2]], sizes: &[u64]) -> Vec<(usize, Vec<usize>)> {
        let joins = joins.iter().map(|inputs| inputs.map(|sources| sources.iter().map(|n| NodeId(*n)).collect()));
        let known = sizes.iter().enumerate().filter(|(_, bytes)| **bytes > 0);
        let bytes = known.map(|(source, bytes)| (NodeId(source), *bytes)).collect();
        let found = waits_of(joins, &bytes).into_iter();
        found.map(|(source, before)| (source.0, before.into_iter().map(|b| b.0).collect())).collect()
    }

    #[test]
    fn the_large_waits_for_the_small() {
        assert_eq!(waits(&[[&[0], &[1]]], &[10, 20]), [(1, vec![0])]);
        assert_eq!(waits(&[[&[0], &[1]]], &[21, 10]), [(0, vec![1])]);
        assert_eq!(waits(&[[&[0], &[1]]], &[10, 19]), [], "they are alike");
        assert_eq!(waits(&[[&[0], &[1]]], &[10, 0]), [], "nobody knows");
        assert_eq!(waits(&[[&[0, 1], &[2, 3]]], &[5, 5, 10, 10]), [(2, vec![0, 1]), (3, vec![0, 1])]);
        assert_eq!(waits(&[[&[0], &[1]], [&[0, 1], &[2]]], &[1, 10, 100]), [(1, vec![0]), (2, vec![0, 1])]);
    }

    #[test]
    fn nobody_waits_for_itself() {
        assert_eq!(waits(&[[&[0], &[0]]], &[10]), []);
        assert_eq!(waits(&[[&[0], &[0, 1]]], &[10, 30]), []);
        // 1 waits for 0. In the second join 0 would have to wait for 2 and 1 together.
        assert_eq!(waits(&[[&[0], &[1]], [&[1, 2], &[0, 3]]], &[10, 20, 1, 100]), [(1, vec![0])]);
        // 2 waits for 1, and 1 for 0: 0 does not wait for 2.
        let joins: [[&[usize]; 2]; 3] = [[&[0], &[1]], [&[1], &[2]], [&[2, 4], &[0, 3]]];
        assert_eq!(waits(&joins, &[10, 20, 40, 1000, 1]), [(1, vec![0]), (2, vec![1])]);
    }

    #[test]
    fn nothing_is_smaller_than_nothing() {
        assert_eq!(waits(&[[&[], &[]]], &[]), []);
    }
}
