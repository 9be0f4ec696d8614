//! What operators without windows keep by key: keys have slots, dense numbers by which everything else of a key is found, and so
//! have rows.
//!
//! ```text
//!   key ──► slots: key slot ──► chains: row slots of the key ──► row_store: the rows
//!                    └────────► touched: which of them an epoch has changed
//! ```

pub(crate) mod chains;
pub(crate) mod one_row;
pub(crate) mod row_codec;
pub(crate) mod row_index;
pub(crate) mod row_store;
pub(crate) mod slots;
pub(crate) mod telling;
pub(crate) mod time_to_live;
pub(crate) mod touched;
