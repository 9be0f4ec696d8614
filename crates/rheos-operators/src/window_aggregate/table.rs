//! A hash table of groups with one accumulator an aggregate: the active part of a slice, or the scratch of a fire.
//!
//! Rows or partial aggregates go in; either results or partial aggregates ("a run") come out, and the table is empty
//! again and can be used anew.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, new_null_array};
use arrow::record_batch::RecordBatch;
use datafusion_expr::{EmitTo, GroupsAccumulator};
use datafusion_physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion_physical_plan::aggregates::order::GroupOrdering;
use rheos_core::Result;

use super::distinct_counts::{DistinctCounts, distinct_counts};
use super::spec::Layout;
use crate::aggregate::extremes::Input;
use crate::evaluation::{coerce, data_error, new_batch, plan_error};

/// The evaluated columns of some raw rows.
#[derive(Debug, Clone)]
pub(crate) struct RowColumns {
    /// Keys and hidden keys.
    pub(crate) groups: Vec<ArrayRef>,
    /// What each aggregate reads.
    pub(crate) arguments: Vec<Vec<ArrayRef>>,
    /// The rows that count for each aggregate; never null.
    pub(crate) filters: Vec<Option<BooleanArray>>,
    pub(crate) rows: usize,
}

impl RowColumns {
    /// Some of the rows, without copying.
    pub(crate) fn slice(&self, range: &std::ops::Range<usize>) -> Self {
        let cut = |column: &ArrayRef| column.slice(range.start, range.len());
        Self {
            groups: self.groups.iter().map(cut).collect(),
            arguments: self.arguments.iter().map(|columns| columns.iter().map(cut).collect()).collect(),
            filters: self.filters.iter().map(|f| f.as_ref().map(|f| f.slice(range.start, range.len()))).collect(),
            rows: range.len(),
        }
    }

    /// What the calls of a set read, which is the same for all, and the filter of each.
    fn of_set(&self, calls: &[usize]) -> (&ArrayRef, Vec<Option<&BooleanArray>>) {
        (&self.arguments[calls[0]][0], calls.iter().map(|call| self.filters[*call].as_ref()).collect())
    }
}

/// What becomes of the partial aggregates that leave a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunUse {
    /// They stay, in memory or in the state.
    Kept,
    /// They are on their way into another table, which finds out what is in them twice.
    Passing,
}

/// See the module.
pub(crate) struct Table {
    layout: Arc<Layout>,
    /// `None` without keys: everything is group 0.
    groups: Option<Box<dyn GroupValues>>,
    /// By call; `None` of those that `distinct` counts.
    accumulators: Vec<Option<Box<dyn GroupsAccumulator>>>,
    /// By set of the layout.
    distinct: Vec<Box<dyn DistinctCounts>>,
    /// The group of each row of the batch at hand.
    indices: Vec<usize>,
    len: usize,
}

impl Table {
    pub(crate) fn try_new(layout: &Arc<Layout>, input: Input) -> Result<Self> {
        let groups = match layout.group_width() {
            0 => None,
            _ => {
                let schema = Arc::clone(&layout.group_schema);
                Some(new_group_values(schema, &GroupOrdering::None).map_err(plan_error)?)
            }
        };
        let in_sets: Vec<usize> = layout.distinct_sets.concat();
        let accumulators = layout.aggregates.iter().enumerate().map(|(at, call)| match in_sets.contains(&at) {
            true => Ok(None),
            false => call.accumulator_of(input).map(Some),
        });
        let set = |calls: &Vec<usize>| distinct_counts(&layout.aggregates[calls[0]].input_types()[0], calls.len());
        Ok(Self {
            accumulators: accumulators.collect::<Result<_>>()?,
            distinct: layout.distinct_sets.iter().map(set).collect::<Result<_>>()?,
            layout: Arc::clone(layout),
            groups,
            indices: vec![],
            len: 0,
        })
    }

    /// Groups.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes, about.
    pub(crate) fn size(&self) -> usize {
        let accumulators: usize = self.accumulators.iter().flatten().map(|a| a.size()).sum();
        let distinct: usize = self.distinct.iter().map(|set| set.size()).sum();
        self.groups.as_ref().map_or(0, |g| g.size()) + accumulators + distinct
    }

    /// Adds raw rows.
    pub(crate) fn update(&mut self, columns: &RowColumns) -> Result<()> {
        if columns.rows == 0 {
            return Ok(());
        }
        self.intern(&columns.groups, columns.rows)?;
        let calls = self.accumulators.iter_mut().zip(&columns.arguments).zip(&columns.filters);
        for ((accumulator, arguments), filter) in calls {
            if let Some(accumulator) = accumulator {
                accumulator.update_batch(arguments, &self.indices, filter.as_ref(), self.len).map_err(data_error)?;
            }
        }
        for (set, calls) in self.distinct.iter_mut().zip(&self.layout.distinct_sets) {
            let (values, filters) = columns.of_set(calls);
            set.update(values, &filters, &self.indices);
        }
        Ok(())
    }

    /// Adds partial aggregates: rows in the partial layout, all of one slice.
    pub(crate) fn merge(&mut self, run: &RecordBatch) -> Result<()> {
        if run.num_rows() == 0 {
            return Ok(());
        }
        let states = 1 + self.layout.group_width();
        self.intern(&run.columns()[1..states], run.num_rows())?;
        let mut rest = &run.columns()[states..];
        let mut of_calls = vec![];
        for (accumulator, width) in self.accumulators.iter_mut().zip(&self.layout.state_widths) {
            let (columns, others) = rest.split_at(*width);
            if let Some(accumulator) = accumulator {
                accumulator.merge_batch(columns, &self.indices, self.len).map_err(data_error)?;
            }
            of_calls.push(columns);
            rest = others;
        }
        for (set, calls) in self.distinct.iter_mut().zip(&self.layout.distinct_sets) {
            let lists: Vec<&ArrayRef> = calls.iter().map(|call| &of_calls[*call][0]).collect();
            set.merge(&lists, &self.indices);
        }
        Ok(())
    }

    /// Makes the one group of a table without keys exist though there is no row: its sums are null, its counts 0.
    pub(crate) fn touch(&mut self) -> Result<()> {
        self.intern(&[], 1)?;
        for (accumulator, call) in self.accumulators.iter_mut().zip(&self.layout.aggregates) {
            let Some(accumulator) = accumulator else { continue };
            let nulls: Vec<_> = call.input_types().iter().map(|t| new_null_array(t, 1)).collect();
            // One row that does not count: an accumulator which has seen no batch at all may answer 0 for null.
            let none = BooleanArray::from(vec![false]);
            accumulator.update_batch(&nulls, &[0], Some(&none), 1).map_err(data_error)?;
        }
        Ok(())
    }

    fn intern(&mut self, groups: &[ArrayRef], rows: usize) -> Result<()> {
        match &mut self.groups {
            Some(table) => {
                table.intern(groups, &mut self.indices).map_err(data_error)?;
                self.len = table.len();
            }
            None => {
                self.indices.clear();
                self.indices.resize(rows, 0);
                self.len = 1;
            }
        }
        Ok(())
    }

    /// The partial aggregates of all groups, as rows of `slice`. The table is empty then.
    pub(crate) fn take_run(&mut self, slice: i64, usage: RunUse) -> Result<RecordBatch> {
        let rows = self.len;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![slice; rows]))];
        columns.extend(self.take_groups()?);
        let lists = self.distinct.iter_mut().map(|set| set.take_lists(rows, usage)).collect::<Result<Vec<_>>>()?;
        let state = |_, a: &mut Box<dyn GroupsAccumulator>| a.state(EmitTo::All).map_err(data_error);
        columns.extend(self.by_call(lists, state)?.into_iter().flatten());
        let fields = self.layout.partial_schema.fields();
        let columns = columns.into_iter().zip(fields).map(|(c, f)| coerce(c, f.data_type()));
        new_batch(&self.layout.partial_schema, columns.collect::<Result<_>>()?, rows)
    }

    /// Keys and hidden keys, and the results of all groups. The table is empty then.
    pub(crate) fn take_results(&mut self) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>)> {
        let rows = self.len;
        let groups = self.take_groups()?;
        let counts = self.distinct.iter_mut().map(|set| set.take_counts(rows)).collect();
        let result = |_, a: &mut Box<dyn GroupsAccumulator>| Ok(vec![a.evaluate(EmitTo::All).map_err(data_error)?]);
        let results = self.by_call(counts, result)?.into_iter().flatten();
        let fields = &self.layout.output_schema.fields()[self.layout.keys..];
        let results = results.zip(fields).map(|(column, field)| coerce(column, field.data_type()));
        Ok((groups, results.collect::<Result<_>>()?))
    }

    /// Columns by call: what the sets gave, one column a lane, and what `f` gives of the accumulators.
    fn by_call(
        &mut self,
        of_sets: Vec<Vec<ArrayRef>>,
        f: impl Fn(usize, &mut Box<dyn GroupsAccumulator>) -> Result<Vec<ArrayRef>>,
    ) -> Result<Vec<Vec<ArrayRef>>> {
        let of_call = |(call, accumulator): (usize, &mut Option<_>)| match accumulator {
            Some(accumulator) => f(call, accumulator),
            None => Ok(vec![]),
        };
        let mut columns = self.accumulators.iter_mut().enumerate().map(of_call).collect::<Result<Vec<_>>>()?;
        for (calls, lanes) in self.layout.distinct_sets.iter().zip(of_sets) {
            calls.iter().zip(lanes).for_each(|(call, lane)| columns[*call].push(lane));
        }
        Ok(columns)
    }

    fn take_groups(&mut self) -> Result<Vec<ArrayRef>> {
        let rows = std::mem::take(&mut self.len);
        let Some(groups) = &mut self.groups else { return Ok(vec![]) };
        let columns = groups.emit(EmitTo::All).map_err(data_error)?;
        // Some tables keep their hash map, with the numbers of groups that are gone; the room in it is for the next use.
        groups.clear_shrink(rows);
        let columns = columns.into_iter().zip(self.layout.group_schema.fields());
        columns.map(|(c, f)| coerce(c, f.data_type())).collect()
    }

    /// Partial aggregates of rows as if each were a group of its own. Only where all calls are convertible.
    pub(crate) fn convert(&mut self, columns: &RowColumns, slices: ArrayRef) -> Result<RecordBatch> {
        let mut partial = vec![slices];
        partial.extend(columns.groups.iter().cloned());
        let mut lists = vec![];
        for (set, calls) in self.distinct.iter().zip(&self.layout.distinct_sets) {
            let (values, filters) = columns.of_set(calls);
            lists.push(set.lists_of_rows(values, &filters)?);
        }
        let state = |call: usize, a: &mut Box<dyn GroupsAccumulator>| {
            a.convert_to_state(&columns.arguments[call], columns.filters[call].as_ref()).map_err(data_error)
        };
        partial.extend(self.by_call(lists, state)?.into_iter().flatten());
        let fields = self.layout.partial_schema.fields();
        let partial = partial.into_iter().zip(fields).map(|(c, f)| coerce(c, f.data_type()));
        new_batch(&self.layout.partial_schema, partial.collect::<Result<_>>()?, columns.rows)
    }
}

/// Empty tables for reuse: a table that grows anew for each window hashes its groups twice, and the memory that it grows
/// through is cleared by the system.
pub(crate) struct TablePool {
    layout: Arc<Layout>,
    input: Input,
    /// With the bytes that each holds, the largest last.
    free: Vec<(Table, usize)>,
    free_bytes: usize,
}

/// Tables kept, at most; and how many bytes they hold together. The merge of a window with 200,000 groups holds 8 MiB.
const FREE_TABLES_MAX: usize = 8;
const FREE_TABLES_BYTES_MAX: usize = 16 << 20;

impl TablePool {
    pub(crate) fn new(layout: Arc<Layout>) -> Self {
        Self { layout, input: Input::Passing, free: vec![], free_bytes: 0 }
    }

    /// Tables that may hold on to the runs that enter them.
    pub(crate) fn of_staying_runs(layout: Arc<Layout>) -> Self {
        Self { input: Input::Staying, ..Self::new(layout) }
    }

    pub(crate) fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// A table for the rows of a slice.
    pub(crate) fn take(&mut self) -> Result<Table> {
        let first = if self.free.is_empty() { None } else { Some(self.free.remove(0)) };
        self.taken(first)
    }

    /// A table for several slices at once, which have more groups together.
    pub(crate) fn take_largest(&mut self) -> Result<Table> {
        let last = self.free.pop();
        self.taken(last)
    }

    fn taken(&mut self, free: Option<(Table, usize)>) -> Result<Table> {
        match free {
            Some((table, bytes)) => {
                self.free_bytes -= bytes;
                Ok(table)
            }
            None => Table::try_new(&self.layout, self.input),
        }
    }

    /// Gives back a table that is empty.
    pub(crate) fn give(&mut self, table: Table) {
        debug_assert!(table.is_empty(), "only empty tables are reused");
        let bytes = table.size();
        if self.free.len() < FREE_TABLES_MAX && self.free_bytes + bytes <= FREE_TABLES_BYTES_MAX {
            self.free_bytes += bytes;
            let at = self.free.partition_point(|(_, other)| *other <= bytes);
            self.free.insert(at, (table, bytes));
        }
    }
}
