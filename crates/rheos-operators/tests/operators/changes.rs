//! What tests of changelogs share: random changes of a multiset of rows, and the fold of a changelog.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use proptest::prelude::*;
use rheos_core::change;
use rheos_testkit::rows;

/// How often each row is there.
pub(crate) type Fold = BTreeMap<String, i64>;

/// The changes of a chunk: each row with its weight, which is 1 without a column of weights.
pub(crate) fn changes(batches: &[RecordBatch]) -> Vec<(String, i64)> {
    let mut changes = vec![];
    for batch in batches {
        let (plain, weights) = change::split(batch).unwrap();
        let weights = weights.map(|weights| weights.values().to_vec());
        for (row, text) in rows(&[plain]).into_iter().enumerate() {
            let weight = weights.as_ref().map_or(1, |weights| weights[row]);
            assert_ne!(weight, 0, "a change of nothing: {text}");
            changes.push((text, weight));
        }
    }
    changes
}

/// Adds changes to a fold, in which no row may be there less than not at all.
pub(crate) fn fold(fold: &mut Fold, changes: &[(String, i64)]) {
    for (row, weight) in changes {
        *fold.entry(row.clone()).or_default() += weight;
    }
    fold.retain(|_, weight| *weight != 0);
    assert!(fold.values().all(|weight| *weight > 0), "rows left that were not there: {fold:?}");
}

/// One epoch of a multiset of rows: what comes and goes, in some order.
#[derive(Debug, Clone)]
pub(crate) struct Epoch<R> {
    pub(crate) changes: Vec<(R, i64)>,
    /// Where it is cut into batches.
    pub(crate) batch_rows: usize,
    /// The job starts again behind it, with so many workers.
    pub(crate) restart: Option<usize>,
}

/// A row, how often it comes or goes, whether it comes, and where among the others.
type Step<R> = (R, i64, bool, prop::sample::Index);

/// Epochs of changes. Rows that go have come before, or come in the same epoch. `only_grows`: none goes.
pub(crate) fn epochs<R: Clone + Ord + std::fmt::Debug + 'static>(
    row: impl Strategy<Value = R> + Clone,
    only_grows: bool,
) -> impl Strategy<Value = Vec<Epoch<R>>> {
    let steps = prop::collection::vec((row, 1i64..3, any::<bool>(), any::<prop::sample::Index>()), 0..60);
    let epoch = (steps, 1usize..40, prop::option::weighted(0.2, 1usize..4));
    prop::collection::vec(epoch, 1..8).prop_map(move |epochs| {
        let mut there: BTreeMap<R, i64> = BTreeMap::new();
        let of_epoch = |(steps, batch_rows, restart): (Vec<Step<R>>, usize, Option<usize>)| {
            let mut changes = vec![];
            for (row, copies, comes, at) in steps {
                let (row, weight) = match comes || only_grows || there.is_empty() {
                    true => (row, if only_grows { 1 } else { copies }),
                    false => {
                        let (row, known) = there.iter().nth(at.index(there.len())).unwrap();
                        (row.clone(), -copies.min(*known))
                    }
                };
                *there.entry(row.clone()).or_default() += weight;
                there.retain(|_, copies| *copies != 0);
                // Somewhere among the others, so that a row may go before it has come.
                changes.insert(at.index(changes.len() + 1), (row, weight));
            }
            Epoch { changes, batch_rows, restart }
        };
        epochs.into_iter().map(of_epoch).collect()
    })
}

/// The rows that are there behind some changes, each as often as it is.
pub(crate) fn table<R: Clone + Ord>(changes: impl IntoIterator<Item = (R, i64)>) -> Vec<R> {
    let mut there: BTreeMap<R, i64> = BTreeMap::new();
    for (row, weight) in changes {
        *there.entry(row).or_default() += weight;
    }
    there.into_iter().flat_map(|(row, copies)| std::iter::repeat_n(row, usize::try_from(copies).unwrap())).collect()
}
