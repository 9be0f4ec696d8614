//! Lists in lists in ...: where the items of each list lie.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, LargeListArray, ListArray, MapArray};
use arrow::datatypes::{DataType, FieldRef};
use rheos_core::{Error, Result};

/// The fields of a list's items: one, or the key and the value of a map. `None`: no list.
pub(crate) fn item_fields(data_type: &DataType) -> Option<Vec<FieldRef>> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(vec![Arc::clone(item)])
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => Some(fields.iter().cloned().collect()),
            _ => None,
        },
        _ => None,
    }
}

/// A column of lists and what lies in them, down to a depth.
pub(crate) struct Nested {
    /// The outermost lists first.
    levels: Vec<Lists>,
    /// The innermost items, as one column or as the two of a map.
    items: Vec<ArrayRef>,
}

enum Lists {
    List(ListArray),
    Large(LargeListArray),
    Fixed(FixedSizeListArray),
    Map(MapArray),
}

impl Nested {
    pub(crate) fn try_new(column: &ArrayRef, depth: usize) -> Result<Self> {
        let mut levels = vec![];
        let mut items = vec![Arc::clone(column)];
        for _ in 0..depth {
            let lists = Lists::try_new(&items[0])?;
            items = lists.items_column();
            levels.push(lists);
        }
        Ok(Self { levels, items })
    }

    pub(crate) fn depth(&self) -> usize {
        self.levels.len()
    }

    /// Where the items of a list at this level (0 is the outermost) lie in the level below; `None`: it is null.
    pub(crate) fn range(&self, level: usize, list: usize) -> Option<Range<usize>> {
        self.levels[level].range(list)
    }

    pub(crate) fn items(&self) -> &[ArrayRef] {
        &self.items
    }
}

impl Lists {
    fn try_new(column: &ArrayRef) -> Result<Self> {
        match column.data_type() {
            DataType::List(_) => Ok(Lists::List(column.as_list().clone())),
            DataType::LargeList(_) => Ok(Lists::Large(column.as_list().clone())),
            DataType::FixedSizeList(..) => Ok(Lists::Fixed(column.as_fixed_size_list().clone())),
            DataType::Map(..) => Ok(Lists::Map(column.as_map().clone())),
            other => Err(Error::internal(format!("an UNNEST of a column of type {other}"))),
        }
    }

    fn items_column(&self) -> Vec<ArrayRef> {
        match self {
            Lists::List(lists) => vec![Arc::clone(lists.values())],
            Lists::Large(lists) => vec![Arc::clone(lists.values())],
            Lists::Fixed(lists) => vec![Arc::clone(lists.values())],
            Lists::Map(maps) => vec![Arc::clone(maps.keys()), Arc::clone(maps.values())],
        }
    }

    fn range(&self, list: usize) -> Option<Range<usize>> {
        let between = |from: i64, to: i64| from as usize..to as usize;
        let (is_null, range) = match self {
            Lists::List(lists) => {
                let offsets = lists.value_offsets();
                (lists.is_null(list), between(offsets[list].into(), offsets[list + 1].into()))
            }
            Lists::Large(lists) => {
                let offsets = lists.value_offsets();
                (lists.is_null(list), between(offsets[list], offsets[list + 1]))
            }
            Lists::Fixed(lists) => {
                let from = i64::from(lists.value_offset(list));
                (lists.is_null(list), between(from, from + i64::from(lists.value_length())))
            }
            Lists::Map(maps) => {
                let offsets = maps.value_offsets();
                (maps.is_null(list), between(offsets[list].into(), offsets[list + 1].into()))
            }
        };
        (!is_null).then_some(range)
    }
}
