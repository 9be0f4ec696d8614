//! The functions that a program can call, for `rheos functions` and the docs.

use datafusion_expr::Documentation;

use crate::catalog::{aggregate_functions, higher_order_functions, scalar_functions};

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
        example: docs.and_then(|d| d.sql_example.clone()),
    }
}

fn windows() -> Vec<FunctionInfo> {
    let window = |name: &str, syntax: &str, description: &str, example: &str| FunctionInfo {
        name: name.into(),
        aliases: vec![],
        kind: FunctionKind::Window,
        syntax: syntax.into(),
        description: description.into(),
        arguments: vec![],
        example: Some(example.into()),
    };
    let group = "SELECT TUMBLE_START(ts, INTERVAL '1' HOUR), COUNT(*) FROM t GROUP BY TUMBLE(ts, INTERVAL '1' HOUR)";
    vec![
        window(
            "tumble",
            "TUMBLE(TABLE t, DESCRIPTOR(ts), size [, offset]), or in GROUP BY tumble(ts, size [, offset])",
            "Puts each row into one window of fixed length and adds window_start, window_end and window_time.",
            "SELECT window_start, COUNT(*) FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY window_start, window_end",
        ),
        window(
            "hop",
            "HOP(TABLE t, DESCRIPTOR(ts), slide, size [, offset]), or in GROUP BY hop(ts, slide, size [, offset])",
            "Puts each row into all windows of length size that begin every slide, and adds window_start, window_end and window_time.",
            "SELECT window_start, COUNT(*) FROM HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '5' MINUTE, INTERVAL '1' HOUR) GROUP BY window_start, window_end",
        ),
        window(
            "tumble_start",
            "TUMBLE_START(ts, size)",
            "The start of the window in GROUP BY tumble(ts, size).",
            group,
        ),
        window("tumble_end", "TUMBLE_END(ts, size)", "The end of the window in GROUP BY tumble(ts, size).", group),
        window(
            "hop_start",
            "HOP_START(ts, slide, size)",
            "The start of the window in GROUP BY hop(ts, slide, size).",
            group,
        ),
        window("hop_end", "HOP_END(ts, slide, size)", "The end of the window in GROUP BY hop(ts, slide, size).", group),
    ]
}
