//! The planner from the outside: programs in, graphs and errors out, over tables that exist only here.

mod absent;
mod changes;
mod fakes;
mod flink;
mod hints;
mod mistakes;
mod names;
mod plans;
mod soup;
mod update_joins;
