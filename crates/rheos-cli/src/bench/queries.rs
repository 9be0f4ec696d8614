//! The queries of the Nexmark benchmark: the programs of `examples/nexmark`, which also run by themselves.
//!
//! They declare the table `events`, and the views of its kinds (`bid`, ..), only where nobody has done so before, so a
//! declaration put in front of one of them decides how many events it reads, and where from.

use anyhow::Result;
use rheos::Error;
use rheos::error::nearest;

use crate::report::{Failure, code};

/// A query and its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) name: &'static str,
    pub(super) program: &'static str,
}

macro_rules! queries {
    ($($name:literal),*) => {
        &[$(Query {
            name: $name,
            program: include_str!(concat!("../../../../examples/nexmark/", $name, ".sql")),
        }),*]
    };
}

/// All of them, in the order of the benchmark.
const ALL: &[Query] = queries![
    "q0", "q1", "q2", "q3", "q4", "q5", "q7", "q8", "q9", "q10", "q11", "q12", "q14", "q15", "q16", "q17", "q18",
    "q19", "q20", "q21", "q22", "q23"
];

/// The queries of these names, in their order; all of them where none is named.
///
/// Errors: `Invalid` (R0530) for a name that there is not.
pub(super) fn select(names: &[String]) -> Result<Vec<Query>> {
    if names.is_empty() {
        return Ok(ALL.to_vec());
    }
    names.iter().map(|name| find(name.trim())).collect()
}

fn find(name: &str) -> Result<Query> {
    if let Some(query) = ALL.iter().find(|query| query.name.eq_ignore_ascii_case(name)) {
        return Ok(*query);
    }
    let known = || ALL.iter().map(|query| query.name);
    let list = format!("the queries are {}", known().collect::<Vec<_>>().join(", "));
    let hint = match nearest(name, known()) {
        Some(near) => format!("did you mean '{near}'? {list}"),
        None => list,
    };
    let error = Error::invalid(530, format!("there is no query '{name}'")).with_hint(hint);
    Err(Failure::Plain { error, code: code::NOT_FOUND }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_found_by_name_and_keep_their_order() {
        let names = |found: Vec<Query>| found.iter().map(|q| q.name).collect::<Vec<_>>();
        let wanted = |text: &[&str]| text.iter().map(|t| (*t).to_string()).collect::<Vec<_>>();
        assert_eq!(names(select(&wanted(&["q22", " Q0"])).unwrap()), ["q22", "q0"]);
        assert_eq!(select(&[]).unwrap().len(), ALL.len());
        assert!(select(&wanted(&["q0", "q99"])).is_err());
    }

    #[test]
    fn every_program_lets_somebody_else_declare_the_events() {
        for query in ALL {
            assert!(query.program.contains("CREATE TABLE IF NOT EXISTS events"), "{}", query.name);
            for kind in ["person", "auction", "bid"] {
                assert!(
                    !query.program.contains(&format!("CREATE VIEW {kind} AS")),
                    "{} has its own {kind}",
                    query.name
                );
            }
        }
    }
}
