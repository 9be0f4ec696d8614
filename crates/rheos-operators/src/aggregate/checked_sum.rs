//! `sum` that never wraps: it adds up in a type that is wide enough, and fails where the result does not fit.
//!
//! | argument | result | adds up in | state column |
//! |---|---|---|---|
//! | BIGINT, UBIGINT, durations | the same | `i128` | DECIMAL(38, 0) |
//! | decimals up to 19 digits | 10 digits more | `i128` | DECIMAL(38, s) |
//! | wider decimals | 10 digits more, at most 38 (76) | `i256` | DECIMAL256(76, s) |
//!
//! Only the *result* must fit, so the outcome does not depend on the order of the rows: 9e18 + 9e18 - 9e18 is fine.
//! No sum of fewer than 10^18 rows can exceed the wide type (of 76 digits where the argument has 38); DECIMAL256
//! arguments near their limit are the exception, and there the addition itself is checked.
//! Sums of floats are DataFusion's; sums of intervals are refused by [`super::aggregate_call`].

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, AsArray, BooleanArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Field, FieldRef,
    Int64Type, TimeUnit, UInt64Type, i256,
};
use datafusion_common::{DataFusionError, Result, exec_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, Signature,
};
use datafusion_physical_expr::NullState;
use rheos_core::types::in_sql;

use super::one_group::one_group;

/// The checked function for DataFusion's `sum`; every other function as it is.
pub fn replace(udaf: &Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    if udaf.name() == "sum" && !udaf.inner().is::<CheckedSum>() {
        return Arc::new(AggregateUDF::from(CheckedSum { inner: Arc::clone(udaf) }));
    }
    Arc::clone(udaf)
}

/// The function; see the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CheckedSum {
    inner: Arc<AggregateUDF>,
}

/// The type in which sums of `data_type` are added up; `None` leaves it to DataFusion.
pub(crate) fn wide_type(data_type: &DataType) -> Option<DataType> {
    match *data_type {
        DataType::Int64 | DataType::UInt64 | DataType::Duration(_) => Some(DataType::Decimal128(38, 0)),
        DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) => Some(DataType::Decimal128(38, scale)),
        DataType::Decimal128(precision, scale) if precision <= 19 => Some(DataType::Decimal128(38, scale)),
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => Some(DataType::Decimal256(76, scale)),
        _ => None,
    }
}

/// Sums of values of type `input` that are given out as `result`; `None` where there is no wider type to add up in. The
/// partial result is one column of the wide type.
pub(super) fn wide_sum(input: &DataType, result: DataType) -> Result<Option<Box<dyn GroupsAccumulator>>> {
    use DataType::{Decimal32, Decimal64, Decimal128, Decimal256, Duration, Int64, UInt64};
    let Some(wide) = wide_type(input) else { return Ok(None) };
    let is_128 = matches!(wide, Decimal128(..));
    Ok(Some(match input {
        Int64 => WideSum::<Int64Type, Decimal128Type>::boxed(wide, result),
        UInt64 => WideSum::<UInt64Type, Decimal128Type>::boxed(wide, result),
        Duration(TimeUnit::Second) => WideSum::<DurationSecondType, Decimal128Type>::boxed(wide, result),
        Duration(TimeUnit::Millisecond) => WideSum::<DurationMillisecondType, Decimal128Type>::boxed(wide, result),
        Duration(TimeUnit::Microsecond) => WideSum::<DurationMicrosecondType, Decimal128Type>::boxed(wide, result),
        Duration(TimeUnit::Nanosecond) => WideSum::<DurationNanosecondType, Decimal128Type>::boxed(wide, result),
        Decimal32(..) => WideSum::<Decimal32Type, Decimal128Type>::boxed(wide, result),
        Decimal64(..) => WideSum::<Decimal64Type, Decimal128Type>::boxed(wide, result),
        Decimal128(..) if is_128 => WideSum::<Decimal128Type, Decimal128Type>::boxed(wide, result),
        Decimal128(..) => WideSum::<Decimal128Type, Decimal256Type>::boxed(wide, result),
        Decimal256(..) => WideSum::<Decimal256Type, Decimal256Type>::boxed(wide, result),
        other => return exec_err!("sum is not defined for {other}"),
    }))
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if wide_type(args.expr_fields[0].data_type()).is_none() {
            return self.inner.accumulator(args);
        }
        Ok(one_group("CheckedSum", self.create_groups_accumulator(args)?))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        match wide_type(args.input_fields[0].data_type()) {
            Some(wide) => Ok(vec![Arc::new(Field::new(format_state_name(args.name, "sum"), wide, true))]),
            None => self.inner.state_fields(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        wide_type(args.expr_fields[0].data_type()).is_some() || self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let input = args.expr_fields[0].data_type();
        let result = args.return_field.data_type().clone();
        match wide_sum(input, result)? {
            Some(sum) => Ok(sum),
            None => self.inner.create_groups_accumulator(args),
        }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// A type that can be added up in `W`, and into which a sum may fit.
pub(crate) trait Summand<W>: Copy {
    fn widen(self) -> W;
    fn narrow(wide: W) -> Option<Self>;
}

macro_rules! summand {
    ($($narrow:ty => $wide:ty),*) => {$(
        impl Summand<$wide> for $narrow {
            fn widen(self) -> $wide {
                self.into()
            }
            fn narrow(wide: $wide) -> Option<Self> {
                wide.try_into().ok()
            }
        }
    )*};
}
summand!(i32 => i128, i64 => i128, u64 => i128, i128 => i128, i256 => i256);

impl Summand<i256> for i128 {
    fn widen(self) -> i256 {
        i256::from_i128(self)
    }
    fn narrow(wide: i256) -> Option<Self> {
        wide.to_i128()
    }
}

/// Sums of `T`, added up as `W`.
struct WideSum<T: ArrowPrimitiveType, W: DecimalType> {
    sums: Vec<W::Native>,
    nulls: NullState,
    wide: DataType,
    result: DataType,
    input: PhantomData<fn(T)>,
}

impl<T, W> WideSum<T, W>
where
    T: ArrowPrimitiveType + Send,
    T::Native: Summand<W::Native>,
    W: DecimalType + Debug,
{
    fn boxed(wide: DataType, result: DataType) -> Box<dyn GroupsAccumulator> {
        let (sums, nulls) = (vec![], NullState::new());
        Box::new(Self { sums, nulls, wide, result, input: PhantomData })
    }

    /// Adds to the sums; an addition that leaves even the wide type is an error.
    fn add<S: ArrowPrimitiveType + Send>(
        &mut self,
        values: &PrimitiveArray<S>,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
        widen: impl Fn(S::Native) -> W::Native + Send + Sync,
    ) -> Result<()> {
        self.sums.resize(total, W::Native::ZERO);
        let sums = &mut self.sums;
        let mut overflow = false;
        self.nulls.accumulate(groups, values, filter, total, |group, value| {
            match sums[group].add_checked(widen(value)) {
                Ok(sum) => sums[group] = sum,
                Err(_) => overflow = true,
            }
        });
        if overflow { overflow_error(&self.result, "the sum") } else { Ok(()) }
    }
}

/// A sum in the type of the result. Errors: it does not fit.
pub(crate) fn narrow<T, W>(sum: W::Native, result: &DataType) -> Result<T::Native>
where
    T: ArrowPrimitiveType,
    T::Native: Summand<W::Native>,
    W: DecimalType,
    W::Native: Debug,
{
    let fits = T::Native::narrow(sum).filter(|_| match result {
        DataType::Decimal32(precision, _)
        | DataType::Decimal64(precision, _)
        | DataType::Decimal128(precision, _)
        | DataType::Decimal256(precision, _) => W::is_valid_decimal_precision(sum, *precision.min(&W::MAX_PRECISION)),
        _ => true,
    });
    match fits {
        Some(value) => Ok(value),
        None => overflow_error(result, &format!("the sum {sum:?}")),
    }
}

pub(crate) fn overflow_error<T>(result: &DataType, what: &str) -> Result<T> {
    Err(DataFusionError::Execution(format!(
        "{what} does not fit into {}: cast the argument to a wider type, e.g. sum(CAST(x AS DECIMAL(38, 0)))",
        in_sql(&result.to_string())
    )))
}

impl<T, W> GroupsAccumulator for WideSum<T, W>
where
    T: ArrowPrimitiveType + Send,
    T::Native: Summand<W::Native>,
    W: DecimalType + Debug,
{
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.add(values[0].as_primitive::<T>(), groups, filter, total, Summand::widen)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.add(values[0].as_primitive::<W>(), groups, None, total, |v| v)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = emit_to.take_needed(&mut self.sums);
        let nulls = self.nulls.build(emit_to);
        let values = sums.into_iter().map(|sum| narrow::<T, W>(sum, &self.result)).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(self.result.clone())))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let sums = emit_to.take_needed(&mut self.sums);
        let nulls = self.nulls.build(emit_to);
        Ok(vec![Arc::new(PrimitiveArray::<W>::new(sums.into(), nulls).with_data_type(self.wide.clone()))])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<T>();
        let wide = values.unary::<_, W>(Summand::widen);
        let kept = filter.map(|f| NullBuffer::new(f.values().clone()));
        let kept = NullBuffer::union(kept.as_ref(), filter.and_then(|f| f.nulls()));
        let nulls = NullBuffer::union(wide.nulls(), kept.as_ref());
        let wide = PrimitiveArray::<W>::new(wide.values().clone(), nulls).with_data_type(self.wide.clone());
        Ok(vec![Arc::new(wide)])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<W::Native>() + self.nulls.size()
    }
}
