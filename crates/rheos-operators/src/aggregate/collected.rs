//! DISTINCT and ORDER BY for functions that have none of their own: the argument tuples are the state, and the function
//! itself sees them only at the end.
//!
//! ```text
//!   rows ──► set (DISTINCT) or list of argument tuples ──► [sort] ──► the function's accumulator ──► result
//!                      │ state: one list of structs a group; merging = adding the tuples of another list
//! ```
//!
//! Invariant: with DISTINCT every tuple is in the set once, nulls being equal to each other; so states of many workers
//! and slices merge to the same result as all rows at once.

use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, StructArray, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, concat, lexsort_to_indices, take};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use datafusion_common::utils::SingleRowListArrayBuilder;
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, ReversedUDAF, Signature};
use datafusion_physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion_physical_plan::aggregates::order::GroupOrdering;

/// `function` over its collected arguments: each tuple once if `distinct`, in the call's order if it has one.
pub fn collect(function: Arc<AggregateUDF>, distinct: bool) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Collected { function, distinct }))
}

/// The function; see the module.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Collected {
    function: Arc<AggregateUDF>,
    distinct: bool,
}

/// The tuple of a row: arguments, then what the call is ordered by.
fn tuple_fields(arguments: &[FieldRef], ordering: &[FieldRef]) -> Fields {
    let types = arguments.iter().chain(ordering).map(|f| f.data_type().clone());
    types.enumerate().map(|(i, t)| Field::new(format!("c{i}"), t, true)).collect()
}

impl AggregateUDFImpl for Collected {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.function.return_type(arg_types)
    }

    fn return_field(&self, arg_fields: &[FieldRef]) -> Result<FieldRef> {
        self.function.return_field(arg_fields)
    }

    fn is_nullable(&self) -> bool {
        self.function.is_nullable()
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let tuple = DataType::Struct(tuple_fields(args.input_fields, args.ordering_fields));
        let item = Field::new_list_field(tuple, true);
        Ok(vec![Arc::new(Field::new_list(format_state_name(args.name, "tuples"), item, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let ordering = args.order_bys.iter().map(|o| o.expr.return_field(args.schema)).collect::<Result<Vec<_>>>()?;
        let fields = tuple_fields(args.expr_fields, &ordering);
        let schema = Arc::new(Schema::new(fields.clone()));
        let set = if self.distinct { Some(Mutex::new(new_group_values(schema, &GroupOrdering::None)?)) } else { None };
        Ok(Box::new(CollectedAccumulator {
            order: args.order_bys.iter().map(|o| o.options).collect(),
            inner: self.function.accumulator(AccumulatorArgs { is_distinct: false, ..args })?,
            fields,
            set,
            list: vec![],
            scratch: vec![],
        }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        // It sorts by itself, but it needs the columns to sort by.
        AggregateOrderSensitivity::Beneficial
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::NotSupported
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.function.documentation()
    }
}

struct CollectedAccumulator {
    inner: Box<dyn Accumulator>,
    /// How to sort by the last columns of a tuple.
    order: Vec<SortOptions>,
    fields: Fields,
    /// The tuples, if each counts once. The lock is never waited for; it stands in for `Sync`.
    set: Option<Mutex<Box<dyn GroupValues>>>,
    /// The tuples otherwise.
    list: Vec<Vec<ArrayRef>>,
    scratch: Vec<usize>,
}

impl Debug for CollectedAccumulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collected").field("inner", &self.inner).finish_non_exhaustive()
    }
}

fn exclusive(set: &mut Mutex<Box<dyn GroupValues>>) -> &mut Box<dyn GroupValues> {
    set.get_mut().unwrap_or_else(PoisonError::into_inner)
}

impl CollectedAccumulator {
    fn add(&mut self, tuples: &[ArrayRef]) -> Result<()> {
        match self.set.as_mut().map(exclusive) {
            Some(set) => set.intern(tuples, &mut self.scratch),
            None => {
                self.list.push(tuples.to_vec());
                Ok(())
            }
        }
    }

    /// All tuples, which leave the accumulator.
    fn take_tuples(&mut self) -> Result<Vec<ArrayRef>> {
        let columns = match self.set.as_mut().map(exclusive) {
            Some(set) if !set.is_empty() => set.emit(EmitTo::All)?,
            _ => {
                let column = |i: usize| self.list.iter().map(|t| t[i].as_ref()).collect::<Vec<_>>();
                let empty = self.fields.iter().map(|f| arrow::array::new_empty_array(f.data_type()));
                let columns = empty.enumerate().map(|(i, empty)| match column(i).as_slice() {
                    [] => Ok(empty),
                    parts => concat(parts),
                });
                let columns = columns.collect::<Result<Vec<_>, _>>()?;
                self.list.clear();
                columns
            }
        };
        let columns = columns.into_iter().zip(&self.fields);
        columns.map(|(c, f)| Ok(arrow::compute::cast(&c, f.data_type())?)).collect()
    }

    fn sort(&self, tuples: Vec<ArrayRef>) -> Result<Vec<ArrayRef>> {
        let arguments = tuples.len() - self.order.len();
        if self.order.is_empty() {
            return Ok(tuples);
        }
        let keys = tuples[arguments..].iter().zip(&self.order);
        let keys: Vec<_> = keys.map(|(c, o)| SortColumn { values: Arc::clone(c), options: Some(*o) }).collect();
        let indices: UInt32Array = lexsort_to_indices(&keys, None)?;
        tuples.iter().map(|c| Ok(take(c, &indices, None)?)).collect()
    }
}

impl Accumulator for CollectedAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if values[0].is_empty() { Ok(()) } else { self.add(values) }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states[0].as_list::<i32>();
        for list in lists.iter().flatten().filter(|list| !list.is_empty()) {
            self.add(list.as_struct().columns())?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let tuples = self.take_tuples()?;
        let tuples = self.sort(tuples)?;
        if !tuples[0].is_empty() {
            self.inner.update_batch(&tuples)?;
        }
        self.inner.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let tuples = self.take_tuples()?;
        let tuples = StructArray::try_new(self.fields.clone(), tuples, None)?;
        Ok(vec![SingleRowListArrayBuilder::new(Arc::new(tuples)).build_list_scalar()])
    }

    fn size(&self) -> usize {
        let list: usize = self.list.iter().flatten().map(|c| c.get_array_memory_size()).sum();
        size_of_val(self)
            + self.inner.size()
            + self.set.as_ref().map_or(0, |s| s.lock().unwrap_or_else(PoisonError::into_inner).size())
            + list
    }
}
