//! What operators without windows keep by key: keys have slots, dense numbers by which everything else of a key is found.

pub(crate) mod slots;
