//! Relations that the engine makes of what it could not use: `t$errors`, the dead letters of the table `t`, and `v$late`, the
//! rows of the table or view `v` that came too late for the windows that read it.
//!
//! They are read as tables are, and have no event time: letters come when something fails, in the order in which it does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_expr::{LogicalPlan, LogicalPlanBuilder, TableSource};
use rheos_core::connector::{ConnectorRegistry, TableDefinition};
use rheos_core::error::{Error, Result};
use rheos_core::letters::{self, ERRORS_SUFFIX, OnError};
use rheos_core::sink::Sink;
use rheos_core::source::Boundedness;
use sqlparser::tokenizer::Token;

use crate::catalog::{Table, scanned_table};
use crate::event_time::{self, TimeAttribute, visit};
use crate::types::{TIMESTAMP, timestamp_ltz};

/// What the name of the sink of letters that no query reads begins with.
const LETTERS_SINK: &str = letters::SINK_PREFIX;

/// `t$errors` as the logical plan holds it.
pub(crate) struct ErrorsSource(pub(crate) Arc<Table>);

impl TableSource for ErrorsSource {
    fn schema(&self) -> SchemaRef {
        letters::schema()
    }
}

/// The table whose dead letters a scan reads.
pub(crate) fn errors_of(source: &Arc<dyn TableSource>) -> Option<&Arc<Table>> {
    source.downcast_ref::<ErrorsSource>().map(|s| &s.0)
}

/// What stands behind the name of a table or view for the relation of its late rows.
pub(crate) const LATE_SUFFIX: &str = "$late";

/// What late rows have beside the columns of the table or view.
const LATE_COLUMNS: [&str; 2] = ["window_end", "watermark"];

/// `v$late` as the logical plan holds it.
pub(crate) struct LateSource {
    /// The name of the table or view.
    pub(crate) name: String,
    /// Its columns, `window_end`, `watermark`.
    pub(crate) schema: SchemaRef,
    pub(crate) boundedness: Boundedness,
}

impl TableSource for LateSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl LateSource {
    /// The late rows of what `plan` reads. Errors: `Invalid` (R0664) if that has a column of the same name.
    pub(crate) fn try_new(name: &str, plan: &LogicalPlan) -> Result<Self> {
        if let Some(taken) = LATE_COLUMNS.iter().find(|c| plan.schema().has_column_with_unqualified_name(c)) {
            let what = format!("'{name}{LATE_SUFFIX}' has a column '{taken}' of its own, and '{name}' has one, too");
            let hint = format!("window over a view of '{name}' in which that column is called otherwise");
            return Err(Error::invalid(664, what).with_hint(hint));
        }
        let is_time = |f: &&Arc<Field>| {
            let column = || plan.schema().columns().into_iter().find(|c| c.name == *f.name());
            matches!(f.data_type(), DataType::Timestamp(..))
                && column().is_some_and(|c| matches!(event_time::check(plan, c), Ok(TimeAttribute::Event(_))))
        };
        let time = plan.schema().fields().iter().find(is_time);
        let zone = time.is_some_and(|f| matches!(f.data_type(), DataType::Timestamp(_, Some(_))));
        let time = if zone { timestamp_ltz() } else { TIMESTAMP };
        let own = plan.schema().fields().iter().map(|f| Field::clone(f).with_nullable(true));
        let more = LATE_COLUMNS.map(|name| Field::new(name, time.clone(), false));
        let schema = Arc::new(Schema::new(own.chain(more).collect::<Vec<_>>()));
        Ok(Self { name: name.into(), schema, boundedness: event_time::boundedness(plan)? })
    }
}

/// The late rows that a scan reads.
pub(crate) fn late_of(source: &Arc<dyn TableSource>) -> Option<&LateSource> {
    source.downcast_ref::<LateSource>()
}

/// The names before `$late` in a program, in lower case.
pub(crate) fn late_names<'t>(tokens: impl Iterator<Item = &'t Token>) -> BTreeSet<String> {
    let name = |token: &Token| match token {
        Token::Word(word) => base(&word.value, LATE_SUFFIX).map(str::to_lowercase),
        _ => None,
    };
    tokens.filter_map(name).collect()
}

/// The table behind a scan, whichever of its relations is read.
pub(crate) fn table_of(source: &Arc<dyn TableSource>) -> Option<&Arc<Table>> {
    scanned_table(source).or_else(|| errors_of(source))
}

/// The name before a suffix, such as that of the table in `t$errors`.
pub(crate) fn base<'n>(name: &'n str, suffix: &str) -> Option<&'n str> {
    let at = name.len().checked_sub(suffix.len()).filter(|at| name.is_char_boundary(*at))?;
    let (base, end) = name.split_at(at);
    (!base.is_empty() && end.eq_ignore_ascii_case(suffix)).then_some(base)
}

/// What a program reads of its tables, by name.
#[derive(Default)]
pub(crate) struct TablesRead {
    /// Every table that is read in any way.
    tables: BTreeMap<String, Arc<Table>>,
    /// Those whose dead letters are read.
    errors: BTreeMap<String, Arc<Table>>,
}

impl TablesRead {
    /// Adds what a plan reads.
    pub(crate) fn add(&mut self, plan: &LogicalPlan) {
        visit(plan, &mut |part| {
            let LogicalPlan::TableScan(scan) = part else { return };
            let name = |table: &Arc<Table>| table.definition.name.clone();
            self.tables.extend(table_of(&scan.source).map(|t| (name(t), Arc::clone(t))));
            self.errors.extend(errors_of(&scan.source).map(|t| (name(t), Arc::clone(t))));
        });
    }

    /// Checks what tables say of bad records. Gives those whose letters are kept beside the state since no query reads them.
    ///
    /// `keeps_state`: there is a place for them.
    pub(crate) fn unread(&self, keeps_state: bool) -> Result<Vec<&Arc<Table>>> {
        let mut unread = vec![];
        for (name, table) in &self.tables {
            let is_read = self.errors.contains_key(name);
            match table.source()?.on_error() {
                on_error @ (OnError::Fail | OnError::Skip) if is_read => {
                    let word = if on_error == OnError::Fail { "fail" } else { "skip" };
                    let what =
                        format!("'{name}{ERRORS_SUFFIX}' is read, but 'on-error' = '{word}' lets nothing into it");
                    let error = Error::invalid(661, what).with_hint("set 'on-error' to 'dead-letter', or take it away");
                    return Err(table.locate(error));
                }
                OnError::DeadLetter if !is_read && !keeps_state => {
                    let what = format!("'on-error' of '{name}' is 'dead-letter', but nobody takes the bad records");
                    let hint = format!(
                        "read them, as in INSERT INTO bad SELECT * FROM {name}{ERRORS_SUFFIX}, or keep state in a folder: \
                         an object store takes none"
                    );
                    return Err(table.locate(Error::invalid(660, what).with_hint(hint)));
                }
                OnError::Unset | OnError::DeadLetter if !is_read => unread.push(table),
                _ => {}
            }
        }
        Ok(unread)
    }

    /// The names of the tables that are read and not among these.
    pub(crate) fn others(&self, these: &[&Arc<Table>]) -> impl Iterator<Item = &str> {
        self.tables.keys().filter(|name| these.iter().all(|t| t.definition.name != **name)).map(String::as_str)
    }
}

/// The plan of `SELECT * FROM t$errors`.
pub(crate) fn errors_plan(table: &Arc<Table>) -> Result<LogicalPlan> {
    let name = format!("{}{ERRORS_SUFFIX}", table.definition.name);
    let plan = LogicalPlanBuilder::scan(
        datafusion_common::TableReference::bare(name),
        Arc::new(ErrorsSource(Arc::clone(table))),
        None,
    );
    plan.and_then(LogicalPlanBuilder::build)
        .map_err(|e| Error::internal(format!("dead letters cannot be planned: {e}")))
}

/// The name of the node that writes the letters of a table which no query reads.
pub(crate) fn sink_name(table: &str) -> String {
    format!("{LETTERS_SINK}{table}")
}

/// Where those letters go: JSON lines in a folder of the table's name. `None`: there is no connector for it.
pub(crate) fn letters_sink(
    table: &str,
    folder: &std::path::Path,
    registry: &ConnectorRegistry,
) -> Result<Option<Arc<dyn Sink>>> {
    let Ok(connector) = registry.get("filesystem") else { return Ok(None) };
    let path = folder.join(letters::folder_name(table));
    let options = [("path", path.to_string_lossy().into_owned()), ("format", "json".to_string())];
    let definition = TableDefinition {
        name: format!("{table}{ERRORS_SUFFIX}"),
        schema: letters::schema(),
        options: options.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
        partitioned_by: vec![],
        primary_key: vec![],
        metadata: vec![],
    };
    connector.letters_sink(&definition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_told_from_its_errors() {
        let base = |name| base(name, ERRORS_SUFFIX);
        assert_eq!(base("flights$errors"), Some("flights"));
        assert_eq!(base("Flights$ERRORS"), Some("Flights"));
        assert_eq!(base("$errors"), None);
        assert_eq!(base("flights"), None);
        assert_eq!(base("é$error"), None);
    }
}
