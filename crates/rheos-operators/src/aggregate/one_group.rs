//! A vectorised accumulator as one of a single group.

use std::fmt::{self, Debug};
use std::sync::{Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, new_null_array};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{Accumulator, EmitTo, GroupsAccumulator};

/// An accumulator of one group; `name` is for debugging.
pub(super) fn one_group(name: &'static str, groups: Box<dyn GroupsAccumulator>) -> Box<dyn Accumulator> {
    Box::new(OneGroup { name, groups: Mutex::new(groups) })
}

/// The lock is never waited for; it stands in for `Sync`.
struct OneGroup {
    name: &'static str,
    groups: Mutex<Box<dyn GroupsAccumulator>>,
}

impl Debug for OneGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl OneGroup {
    fn inner(&mut self) -> &mut dyn GroupsAccumulator {
        self.groups.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut()
    }

    /// The state, which stays in place. A group that never saw a row exists all the same: its state is null.
    fn current(&mut self) -> Result<Vec<ArrayRef>> {
        let of_one = |state: ArrayRef| if state.is_empty() { new_null_array(state.data_type(), 1) } else { state };
        let state: Vec<_> = self.inner().state(EmitTo::All)?.into_iter().map(of_one).collect();
        self.inner().merge_batch(&state, &[0], 1)?;
        Ok(state)
    }
}

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner().update_batch(values, &vec![0; values[0].len()], None, 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner().merge_batch(states, &vec![0; states[0].len()], 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.current()?;
        ScalarValue::try_from_array(&self.inner().evaluate(EmitTo::All)?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.current()?.iter().map(|state| ScalarValue::try_from_array(state, 0)).collect()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.groups.lock().unwrap_or_else(PoisonError::into_inner).size()
    }
}
