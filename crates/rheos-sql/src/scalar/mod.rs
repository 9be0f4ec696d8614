//! How programs for Flink call scalar functions: what is rewritten before planning. The functions are in rheos-functions.
//!
//! ```text
//!   rewrite   calls that are others in disguise (IF, LOCATE, ..), and checks of literal patterns and paths
//!   syntax    JSON_VALUE(.. RETURNING ..) and ->> in tokens: the parser does not read them
//!   make_syntax   JSON_OBJECT and JSON_ARRAY in tokens: their clauses become arguments
//!   declared  CREATE FUNCTION of what is built in
//!   multiples n * INTERVAL
//!   parts     EXTRACT and its like: the units that there are
//!   bounded   a limit to what a number makes long
//!   lengths   CAST to VARCHAR(n) and CHAR(n)
//!   like, similar, whole_units, two_units, list_agg   ESCAPE, SIMILAR TO, FLOOR(ts TO HOUR), HOUR TO MINUTE, LISTAGG
//! ```

pub(crate) mod bounded;
pub(crate) mod declared;
pub(crate) mod lengths;
pub(crate) mod like;
pub(crate) mod list_agg;
mod make_syntax;
pub(crate) mod multiples;
pub(crate) mod parts;
pub(crate) mod rewrite;
pub(crate) mod similar;
pub(crate) mod syntax;
pub(crate) mod two_units;
pub(crate) mod whole_units;
