//! The one row of a key: the one that is there, and the one that readers know of.

use super::row_codec::RowBytes;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct OneRow {
    now: Option<RowBytes>,
    /// What has been told, where it is not `now` any more.
    told: Option<RowBytes>,
    has_changed: bool,
    /// A checkpoint has a row of this key.
    is_stored: bool,
}

impl OneRow {
    pub(crate) fn now(&self) -> Option<&RowBytes> {
        self.now.as_ref()
    }

    /// Bytes, about.
    pub(crate) fn size(&self) -> usize {
        let bytes = |row: &Option<RowBytes>| row.as_ref().map_or(0, |row| row.bytes().len());
        size_of::<Self>() + bytes(&self.now) + bytes(&self.told)
    }

    /// There is no row, and nothing to be told.
    pub(crate) fn is_empty(&self) -> bool {
        self.now.is_none() && self.told.is_none()
    }

    pub(crate) fn set(&mut self, row: Option<RowBytes>) {
        let before = std::mem::replace(&mut self.now, row);
        if !std::mem::replace(&mut self.has_changed, true) {
            self.told = before;
        }
    }

    /// The row that is there, says a checkpoint.
    pub(crate) fn restore(&mut self, row: RowBytes) {
        *self = Self { now: Some(row), is_stored: true, ..Self::default() };
    }

    /// The row that leaves and the one that enters, if they are not alike; readers know of it from now on.
    pub(crate) fn take_change(&mut self) -> (Option<RowBytes>, Option<&RowBytes>) {
        let told = self.told.take();
        match std::mem::take(&mut self.has_changed) && told != self.now {
            true => (told, self.now.as_ref()),
            false => (None, None),
        }
    }

    /// Whether a checkpoint has to be told that the row is gone. From now on it is as if it had been.
    pub(crate) fn take_stored(&mut self) -> bool {
        std::mem::take(&mut self.is_stored)
    }

    /// From now on a checkpoint has the row, or knows that there is none.
    pub(crate) fn set_stored(&mut self) {
        self.is_stored = self.now.is_some();
    }
}
