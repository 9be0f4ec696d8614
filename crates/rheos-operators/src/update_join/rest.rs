//! The rows of a side that go out by themselves: padded with nulls, because they joined something or nothing, or with a mark.
//!
//! What has been told of each row is kept. Changes gather, and a flush tells what has become different since: a row that has
//! been joined and is alone again in one epoch is not told of.

use arrow::array::{BooleanArray, Int64Array};
use arrow::record_batch::RecordBatch;
use rheos_core::Result;
use rheos_core::change::weighted;

use super::side::Side;
use super::spec::Plan;
use crate::evaluation::new_batch;
use crate::joining::kind::Rest;
use crate::keyed::touched::Touched;

/// See the module.
#[derive(Debug)]
pub(crate) struct RestRows {
    side: usize,
    rest: Rest,
    /// By row: how often it has been told, and with what mark.
    told: Vec<i64>,
    marks: Vec<bool>,
    /// By key: whether its rows have been told as joined. Not where each row has matches of its own.
    joined: Vec<bool>,
    /// Rows that may have to be told anew, and the key of each.
    touched: Touched,
    keys: Vec<u32>,
    /// How many of them the flush under way has come to.
    flushed: Option<usize>,
}

/// What is to be told of a row.
struct Told {
    row: u32,
    mark: bool,
    weight: i64,
}

impl RestRows {
    pub(crate) fn new(side: usize, rest: Rest) -> Self {
        Self {
            side,
            rest,
            told: vec![],
            marks: vec![],
            joined: vec![],
            touched: Touched::default(),
            keys: vec![],
            flushed: None,
        }
    }

    /// A row has changed, or what it is joined with has.
    pub(crate) fn touch(&mut self, row: u32, key: u32) {
        if self.touched.mark(row) {
            self.keys.push(key);
        }
    }

    /// A row is let go without a word.
    pub(crate) fn forget_row(&mut self, row: u32) {
        if let Some(told) = self.told.get_mut(row as usize) {
            *told = 0;
        }
    }

    /// All rows of a key are let go, of both sides.
    pub(crate) fn forget_key(&mut self, key: u32) {
        if let Some(joined) = self.joined.get_mut(key as usize) {
            *joined = false;
        }
    }

    /// Begins to tell what has changed.
    pub(crate) fn begin_flush(&mut self, own: &Side, other: &mut Side) {
        for key in other.touched_keys.take() {
            let k = key as usize;
            if self.joined.len() <= k {
                self.joined.resize(k + 1, false);
            }
            let joined = other.total(key) > 0;
            if std::mem::replace(&mut self.joined[k], joined) != joined {
                own.chains.of(key).for_each(|row| self.touch(row, key));
            }
        }
        self.flushed = Some(0);
    }

    /// Whether a flush is under way.
    pub(crate) fn is_flushing(&self) -> bool {
        self.flushed.is_some()
    }

    /// The next results of the flush, from so many rows; at the end it is over.
    pub(crate) fn step(&mut self, plan: &Plan, own: &Side, other: &Side, rows: usize) -> Result<Option<RecordBatch>> {
        let Some(from) = self.flushed else { return Ok(None) };
        let to = (from + rows).min(self.keys.len());
        self.told.resize(self.told.len().max(own.rows.end()), 0);
        if self.rest == Rest::Marked {
            self.marks.resize(self.told.len(), false);
        }
        let mut results = vec![];
        for at in from..to {
            let (row, key) = (self.touched.slots()[at], self.keys[at]);
            self.tell(row, own.weight(row), is_joined(own, other, row, key), &mut results);
        }
        self.flushed = Some(to);
        if to == self.keys.len() {
            self.touched.take();
            self.keys.clear();
            self.flushed = None;
        }
        if results.is_empty() { Ok(None) } else { self.results(plan, own, &results).map(Some) }
    }

    /// Rows that can join nothing, as results.
    pub(crate) fn alone(&self, plan: &Plan, rows: RecordBatch, weights: Option<Int64Array>) -> Result<RecordBatch> {
        let count = rows.num_rows();
        let marks = BooleanArray::from(vec![false; count]);
        let columns = self.rest.columns(self.side, rows.columns().to_vec(), marks, &plan.inputs[1 - self.side]);
        weighted(&plan.schema_of_rows(), columns, weights.unwrap_or_else(|| Int64Array::from(vec![1; count])))
    }

    /// All that is there has been told: after a restore.
    pub(crate) fn assume_told(&mut self, own: &Side, other: &Side, keys: impl Iterator<Item = u32>) {
        self.told.resize(own.rows.end(), 0);
        self.marks.resize(own.rows.end(), false);
        let mut unheard = vec![];
        for key in keys {
            if self.joined.len() <= key as usize {
                self.joined.resize(key as usize + 1, false);
            }
            self.joined[key as usize] = other.total(key) > 0;
            for row in own.chains.of(key) {
                self.tell(row, own.weight(row), is_joined(own, other, row, key), &mut unheard);
            }
            unheard.clear();
        }
    }

    /// Notes what is true of a row now, and gives what has changed.
    fn tell(&mut self, row: u32, weight: i64, joined: bool, results: &mut Vec<Told>) {
        let wanted = match self.rest {
            Rest::Padded | Rest::Unmatched if joined => 0,
            Rest::Matched if !joined => 0,
            _ => weight,
        };
        let r = row as usize;
        let old = std::mem::replace(&mut self.told[r], wanted);
        let mark = joined && self.rest == Rest::Marked;
        let told_mark = self.rest == Rest::Marked && std::mem::replace(&mut self.marks[r], mark);
        if mark == told_mark {
            if wanted != old {
                results.push(Told { row, mark, weight: wanted - old });
            }
            return;
        }
        for (mark, weight) in [(told_mark, -old), (mark, wanted)] {
            if weight != 0 {
                results.push(Told { row, mark, weight });
            }
        }
    }

    fn results(&self, plan: &Plan, own: &Side, results: &[Told]) -> Result<RecordBatch> {
        let rows: Vec<u32> = results.iter().map(|told| told.row).collect();
        let marks: BooleanArray = results.iter().map(|told| Some(told.mark)).collect();
        let columns = own.rows.gather(&rows)?.columns().to_vec();
        let columns = self.rest.columns(self.side, columns, marks, &plan.inputs[1 - self.side]);
        match plan.emits_weights() {
            true => {
                let weights = results.iter().map(|told| told.weight).collect::<Vec<_>>();
                weighted(&plan.schema_of_rows(), columns, Int64Array::from(weights))
            }
            false => new_batch(&plan.schema, columns, rows.len()),
        }
    }
}

fn is_joined(own: &Side, other: &Side, row: u32, key: u32) -> bool {
    match &own.matches {
        Some(matches) => matches[row as usize] > 0,
        None => other.total(key) > 0,
    }
}
