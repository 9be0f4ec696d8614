//! The functions that a program can call, for `rheos functions` and the docs.

use datafusion_expr::Documentation;

use crate::catalog::{aggregate_functions, higher_order_functions, scalar_functions};
use crate::examples::readable;

/// What a function gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FunctionKind {
    /// One value a row.
    Scalar,
    /// One value a group.
    Aggregate,
    /// Rows put into windows.
    Window,
}

impl FunctionKind {
    /// The word for listings.
    pub fn name(self) -> &'static str {
        match self {
            FunctionKind::Scalar => "scalar",
            FunctionKind::Aggregate => "aggregate",
            FunctionKind::Window => "window",
        }
    }
}

/// One function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Its name.
    pub name: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// What it gives back.
    pub kind: FunctionKind,
    /// How it is called.
    pub syntax: String,
    /// What it does.
    pub description: String,
    /// What its arguments are: (name, meaning).
    pub arguments: Vec<(String, String)>,
    /// An example, where there is one.
    pub example: Option<String>,
}

/// All functions, by name.
pub fn functions() -> Vec<FunctionInfo> {
    let mut all = windows();
    for f in scalar_functions() {
        all.push(info(f.name(), f.aliases(), FunctionKind::Scalar, f.documentation()));
    }
    for f in higher_order_functions() {
        all.push(info(f.name(), f.aliases(), FunctionKind::Scalar, f.documentation()));
    }
    for (name, syntax, description) in crate::dialect::ADDED.iter().chain(crate::scalar::rewrite::ADDED) {
        let info = FunctionInfo {
            name: name.to_string(),
            aliases: vec![],
            kind: FunctionKind::Scalar,
            syntax: syntax.to_string(),
            description: description.to_string(),
            arguments: vec![],
            example: None,
        };
        all.push(info);
    }
    // `date_format` is ours, with Java's patterns.
    for info in &mut all {
        info.aliases.retain(|a| a != "date_format");
    }
    for f in aggregate_functions() {
        all.push(info(f.name(), f.aliases(), FunctionKind::Aggregate, f.documentation()));
    }
    for info in all.iter_mut().filter(|info| info.kind == FunctionKind::Aggregate && info.name == "string_agg") {
        info.aliases.push(crate::scalar::list_agg::NAME.to_string());
    }
    all.sort_by(|a, b| (&a.name, a.kind).cmp(&(&b.name, b.kind)));
    all
}

fn info(name: &str, aliases: &[String], kind: FunctionKind, docs: Option<&Documentation>) -> FunctionInfo {
    FunctionInfo {
        name: name.to_string(),
        aliases: aliases.to_vec(),
        kind,
        syntax: docs.map_or_else(|| format!("{name}(...)"), |d| d.syntax_example.clone()),
        description: docs.map_or_else(String::new, |d| d.description.trim().to_string()),
        arguments: docs.and_then(|d| d.arguments.clone()).unwrap_or_default(),
        example: docs.and_then(|d| d.sql_example.as_deref()).map(readable),
    }
}

/// The windows: name, what follows the time in the call, what the table function takes, what it does.
const WINDOWS: [(&str, &str, &str, &str); 4] = [
    (
        "tumble",
        "size [, offset]",
        "TUMBLE(TABLE t, DESCRIPTOR(ts), size [, offset])",
        "Puts each row into one window of fixed length",
    ),
    (
        "hop",
        "slide, size [, offset]",
        "HOP(TABLE t, DESCRIPTOR(ts), slide, size [, offset])",
        "Puts each row into all windows of length size that begin every slide",
    ),
    (
        "cumulate",
        "step, size [, offset]",
        "CUMULATE(TABLE t, DESCRIPTOR(ts), step, size [, offset])",
        "Puts each row into windows that begin together and grow by a step until they have the whole size",
    ),
    (
        "session",
        "gap",
        "SESSION(TABLE t [PARTITION BY k, ...], DESCRIPTOR(ts), gap)",
        "Puts rows that are no more than a gap apart into one window",
    ),
];

/// What stands beside a window in GROUP BY: the end of its name, and what it gives.
const AUXILIARIES: [(&str, &str); 3] = [
    ("start", "The start of the window"),
    ("end", "The end of the window"),
    ("rowtime", "The event time of the window's result, the last millisecond in it,"),
];

/// The table functions, and what stands beside the windows in GROUP BY.
fn windows() -> Vec<FunctionInfo> {
    let window =
        |name: String, aliases: Vec<String>, syntax: String, description: String, example: String| FunctionInfo {
            name,
            aliases,
            kind: FunctionKind::Window,
            syntax,
            description,
            arguments: vec![],
            example: Some(example),
        };
    let lengths = |name: &str| match name {
        "hop" => "INTERVAL '5' MINUTE, INTERVAL '1' HOUR",
        "cumulate" => "INTERVAL '1' HOUR, INTERVAL '1' DAY",
        "session" => "INTERVAL '10' MINUTE",
        _ => "INTERVAL '1' HOUR",
    };
    let mut all = vec![];
    for (name, arguments, table, does) in WINDOWS {
        let (upper, lengths) = (name.to_uppercase(), lengths(name));
        all.push(window(
            name.to_string(),
            vec![],
            format!("{table}, or in GROUP BY {name}(ts, {arguments})"),
            format!("{does}, and adds window_start, window_end and window_time. A table function."),
            format!(
                "SELECT window_start, COUNT(*) FROM {upper}(TABLE t, DESCRIPTOR(ts), {lengths}) GROUP BY window_start, window_end"
            ),
        ));
        for (part, gives) in &AUXILIARIES {
            let aliases = if *part == "rowtime" { vec![format!("{name}_time")] } else { vec![] };
            all.push(window(
                format!("{name}_{part}"),
                aliases,
                format!("{upper}_{}(ts, {arguments})", part.to_uppercase()),
                format!("{gives} in GROUP BY {name}(ts, {arguments})."),
                format!(
                    "SELECT {upper}_{}(ts, {lengths}), COUNT(*) FROM t GROUP BY {upper}(ts, {lengths})",
                    part.to_uppercase()
                ),
            ));
        }
    }
    all
}
