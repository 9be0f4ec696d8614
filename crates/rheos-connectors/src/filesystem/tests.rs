//! Files as a whole: splits, readers, sink.
