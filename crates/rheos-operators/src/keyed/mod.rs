//! What operators without windows keep by key: keys have slots, dense numbers by which everything else of a key is found.

pub(crate) mod expiry;
pub(crate) mod one_row;
pub(crate) mod row_codec;
pub(crate) mod slots;
pub(crate) mod touched;
