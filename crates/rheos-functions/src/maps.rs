//! `map_entries`: DataFusion's gives the two fields the names that they have in the map, and not those of its own type.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion_common::{DataFusionError, Result as DfResult};
use datafusion_expr::ReturnFieldArgs;
use rheos_core::error::Error;
use rheos_core::types::display;

use super::{Builtin, Call, anything};

pub(super) fn functions() -> Vec<Builtin> {
    vec![Builtin::new(
        "map_entries",
        vec![vec![anything()]],
        entries_type,
        map_entries,
        ("map_entries(map)", "The entries of a map as a list of rows with the fields key and value."),
    )]
}

fn entries_type(args: &ReturnFieldArgs<'_>) -> DfResult<DataType> {
    let given = args.arg_fields.first().map(|f| f.data_type());
    if let Some(DataType::Map(entries, _)) = given
        && let DataType::Struct(fields) = entries.data_type()
        && let [key, value] = fields.as_ref()
    {
        let key = Field::new("key", key.data_type().clone(), true);
        let value = Field::new("value", value.data_type().clone(), true);
        return Ok(DataType::new_list(DataType::Struct(Fields::from(vec![key, value])), true));
    }
    let kind = given.map_or_else(String::new, display);
    let error = Error::invalid(134, format!("'map_entries' takes a map, and this is {kind}"));
    Err(DataFusionError::External(Box::new(error.with_hint("give it a column of type MAP<...>"))))
}

fn map_entries(call: &Call<'_>) -> DfResult<ArrayRef> {
    let column = call.arg(0)?.to_array(call.rows)?;
    let Some(maps) = column.as_map_opt() else {
        return Err(DataFusionError::Internal("map_entries of what is no map".into()));
    };
    let DataType::List(item) = call.returns else {
        return Err(DataFusionError::Internal("the type of map_entries got lost".into()));
    };
    let DataType::Struct(fields) = item.data_type() else {
        return Err(DataFusionError::Internal("the type of map_entries got lost".into()));
    };
    let columns = vec![Arc::clone(maps.keys()), Arc::clone(maps.values())];
    let entries = StructArray::try_new(fields.clone(), columns, None)?;
    let offsets: OffsetBuffer<i32> = maps.offsets().clone();
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, Arc::new(entries), maps.nulls().cloned())?))
}
