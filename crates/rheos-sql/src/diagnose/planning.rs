//! DataFusion's planning errors in our words.

use datafusion_common::{Column, DataFusionError, SchemaError};
use rheos_core::error::{Error, Span, did_you_mean, nearest};
use rheos_core::types::in_sql;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span as TokenSpan, Token, TokenWithSpan};

use super::{diagnostic_span, find_text, find_word, from_df, places};
use crate::catalog::Catalog;
use crate::explain::without_types;
use crate::group_windows;
use crate::set_types::{RESULTS, ROWS_BY_NAME};
use crate::tokens::{place, whole};
use crate::using::is_merged;

/// The table that was not found, if that is what the error says.
pub(crate) fn missing_table(error: &DataFusionError) -> Option<String> {
    let ours = error.iter().find_map(ours)?;
    let name = ours.message().strip_prefix("there is no table or view '")?.strip_suffix('\'')?;
    Some(name.to_string())
}

fn ours(error: &DataFusionError) -> Option<&Error> {
    match error {
        DataFusionError::External(e) => e.downcast_ref::<Error>(),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => ours(inner),
        DataFusionError::Shared(inner) => ours(inner),
        DataFusionError::Collection(errors) => errors.iter().find_map(ours),
        _ => None,
    }
}

/// What DataFusion says about a statement's tokens.
pub(crate) fn planning(error: DataFusionError, tokens: &[TokenWithSpan], catalog: &Catalog) -> Error {
    let diagnostic = diagnostic_span(&error).map(from_df);
    let found = match ours(&error) {
        Some(ours) => located_ours(ours.clone(), tokens, diagnostic),
        None => match error.iter().next().map_or(error.find_root(), DataFusionError::find_root) {
            DataFusionError::SchemaError(inner, _) => schema(inner, tokens, diagnostic),
            DataFusionError::SQL(inner, _) => super::syntax((**inner).clone(), tokens),
            DataFusionError::NotImplemented(text) => not_implemented(text, tokens),
            DataFusionError::Internal(_) => internal(),
            DataFusionError::ArrowError(inner, _) => {
                let text = inner.to_string();
                let error = Error::invalid(149, format!("a constant cannot be computed: {}", shorten(&text)))
                    .with_hint("look at the literals, casts and arithmetic on them");
                with(error, quoted_text(&text, tokens))
            }
            other => plan_error(&other.message(), tokens, catalog),
        },
    };
    match found.span().or(diagnostic).or_else(|| whole(tokens)) {
        Some(span) if found.span().is_none() => found.with_span(span),
        _ => found,
    }
}

fn located_ours(error: Error, tokens: &[TokenWithSpan], diagnostic: Option<Span>) -> Error {
    if let Some(span) = error.span() {
        return error.with_span(whole_interval(span, tokens));
    }
    if let Some(span) = places::field(tokens, error.message()) {
        return error.with_span(span);
    }
    if error.message().starts_with("the parts of the ")
        && let Some(span) = places::behind_union(tokens)
    {
        return error.with_span(span);
    }
    if let Some(span) = places::computed(tokens, error.message()) {
        return error.with_span(span);
    }
    if error.message().starts_with("there is no operation ROW<")
        && let Some(span) = find_operator(tokens, "=")
    {
        return error.with_span(span);
    }
    if error.message().starts_with(RESULTS)
        && let Some(span) = places::conditional(tokens)
    {
        return error.with_span(span);
    }
    let quoted = error.message().split('\'').nth(1).and_then(|name| find_word(tokens, name));
    match diagnostic.or(quoted).or_else(|| whole(tokens)) {
        Some(span) => error.with_span(span),
        None => error,
    }
}

/// The whole of `INTERVAL '1' MONTH` for the place of its text, which is all that the syntax tree knows.
fn whole_interval(span: Span, tokens: &[TokenWithSpan]) -> Span {
    let starts = |t: &TokenWithSpan| t.span.start.line == span.line && t.span.start.column == span.column;
    let Some(at) = tokens.iter().position(starts) else { return span };
    let word = |t: &TokenWithSpan| match &t.token {
        Token::Word(w) if w.quote_style.is_none() => Some(w.keyword),
        _ => None,
    };
    let Some(first) = at.checked_sub(1).map(|b| &tokens[b]).filter(|t| word(t) == Some(Keyword::INTERVAL)) else {
        return span;
    };
    let last = tokens.get(at + 1).filter(|t| word(t).is_some()).unwrap_or(&tokens[at]);
    place(TokenSpan::new(first.span.start, last.span.end))
}

/// The first aggregate of a WHERE.
fn aggregate_in_where(tokens: &[TokenWithSpan], catalog: &Catalog) -> Option<Span> {
    use Keyword::{GROUP, HAVING, LIMIT, ORDER, SELECT, UNION, WHERE};
    let mut inside = false;
    for (token, next) in tokens.iter().zip(tokens.iter().skip(1)) {
        let Token::Word(word) = &token.token else { continue };
        match word.keyword {
            WHERE if word.quote_style.is_none() => inside = true,
            SELECT | GROUP | HAVING | ORDER | LIMIT | UNION if word.quote_style.is_none() => inside = false,
            _ if inside && next.token == Token::LParen && catalog.is_aggregate(&word.value) => {
                return Some(place(token.span));
            }
            _ => {}
        }
    }
    None
}

fn internal() -> Error {
    Error::internal("the planner failed on this statement")
}

/// The first text of the program that an error quotes.
fn quoted_text(text: &str, tokens: &[TokenWithSpan]) -> Option<Span> {
    let held = |t: &&TokenWithSpan| match &t.token {
        Token::SingleQuotedString(held) => {
            !held.is_empty() && (text.contains(&format!("'{held}'")) || text.contains(&format!("\"{held}")))
        }
        _ => false,
    };
    tokens.iter().find(held).map(|t| whole_interval(place(t.span), tokens))
}

/// A subquery as a condition where rows are computed, not chosen.
fn condition_as_value(text: &str, tokens: &[TokenWithSpan]) -> Option<Error> {
    let (what, hint) = if text.contains("logical expression Exists") {
        ("EXISTS", "count the rows, as in (SELECT count(*) FROM t WHERE ..) > 0, or put it into WHERE")
    } else if text.contains("logical expression InSubquery") {
        ("IN", "put IN (SELECT ..) into WHERE, or count, as in (SELECT count(*) FROM t WHERE t.x = y) > 0")
    } else {
        return None;
    };
    let error = Error::invalid(142, format!("{what} of a subquery is not supported yet outside of WHERE"));
    Some(with(error.with_hint(hint), find_word(tokens, what)))
}

fn not_implemented(text: &str, tokens: &[TokenWithSpan]) -> Error {
    if let Some(error) = condition_as_value(text, tokens) {
        return error;
    }
    Error::invalid(142, format!("this is not supported: {}", shorten(text))).with_hint("write it in another way")
}

fn schema(error: &SchemaError, tokens: &[TokenWithSpan], diagnostic: Option<Span>) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => missing_column(field, valid_fields, tokens, diagnostic),
        SchemaError::AmbiguousReference { field } => {
            let at = field.spans.first().map(from_df).or(diagnostic).or_else(|| find_word(tokens, &field.name));
            let error = Error::invalid(132, format!("'{}' could be one of several columns", field.name))
                .with_hint(format!("write the table before it, as in t.{}", field.name));
            with(error, at)
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            let error = Error::invalid(132, format!("two columns are both called '{name}'"))
                .with_hint("give one of them another name with AS");
            with(error, last_word(tokens, name))
        }
    }
}

fn missing_column(field: &Column, valid: &[Column], tokens: &[TokenWithSpan], diagnostic: Option<Span>) -> Error {
    let name = &field.name;
    // The column that USING names has no place of its own.
    let at = field.spans.first().map(from_df).or_else(|| places::in_using(tokens, name)).or(diagnostic);
    let at = at.or_else(|| find_word(tokens, name));
    if let Some(table) = &field.relation
        && !valid.iter().any(|c| c.relation.as_ref() == Some(table))
    {
        let mut tables: Vec<_> = valid.iter().filter_map(|c| c.relation.as_ref().map(ToString::to_string)).collect();
        tables.retain(|table| !is_merged(table));
        tables.dedup();
        let list = match tables.as_slice() {
            [] => format!("write '{name}' without a table"),
            tables => format!("the tables here are: {}", tables.join(", ")),
        };
        let hint = did_you_mean(table.table(), tables.iter().map(String::as_str), &list);
        return with(Error::invalid(131, format!("there is no table '{table}' in this query")).with_hint(hint), at);
    }
    let mut names: Vec<_> = valid.iter().map(|c| c.name.as_str()).filter(|n| !n.starts_with("__")).collect();
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(*name));
    let list = match names.as_slice() {
        [] => "there are no columns here; put a text into single quotes".to_string(),
        names => format!("the columns are: {}", names.join(", ")),
    };
    let is_window = ["window_start", "window_end", "window_time"].contains(&name.to_lowercase().as_str());
    let hint = match nearest(name, names.iter().copied()) {
        None if is_window => {
            "window columns come from a window: FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)".into()
        }
        None if quoted(tokens, name) => format!("a text needs single quotes: '{name}'; {list}"),
        _ => did_you_mean(name, names.iter().copied(), &list),
    };
    with(Error::invalid(131, format!("there is no column '{name}'")).with_hint(hint), at)
}

fn quoted(tokens: &[TokenWithSpan], name: &str) -> bool {
    tokens.iter().any(|t| matches!(&t.token, Token::Word(w) if w.value == name && w.quote_style == Some('"')))
}

fn last_word(tokens: &[TokenWithSpan], name: &str) -> Option<Span> {
    let says = |t: &&TokenWithSpan| matches!(&t.token, Token::Word(w) if w.value.eq_ignore_ascii_case(name));
    tokens.iter().rev().find(says).map(|t| place(t.span))
}

fn with(error: Error, at: Option<Span>) -> Error {
    match at {
        Some(at) => error.with_span(at),
        None => error,
    }
}

/// The text between two markers.
fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let rest = &text[text.find(before)? + before.len()..];
    rest.find(after).map(|end| &rest[..end])
}

/// What a text contains, the code, our message and hint.
const MARKED: &[(&str, u16, &str, &str)] = &[
    (
        "Aggregate functions are not allowed in the WHERE",
        153,
        "an aggregate cannot be in WHERE",
        "filter groups with HAVING",
    ),
    ("aggregate functions in WHERE", 153, "an aggregate cannot be in WHERE", "filter groups with HAVING"),
    ("cannot be nested", 153, "an aggregate cannot be inside an aggregate", "aggregate twice with a subquery"),
    (
        "HAVING clause references",
        136,
        "HAVING needs columns of GROUP BY or aggregates",
        "add the column to GROUP BY, or filter it with WHERE",
    ),
    (
        "Projections require unique expression names",
        132,
        "two columns of the result have the same name",
        "give one of them another name with AS",
    ),
    (
        "Inconsistent data length",
        143,
        "the rows of VALUES have different lengths",
        "give each row the same number of values",
    ),
];

fn plan_error(text: &str, tokens: &[TokenWithSpan], catalog: &Catalog) -> Error {
    if let Some(name) = between(text, "Invalid function '", "'") {
        return unknown_function(name, tokens, catalog);
    }
    if text.contains("must appear in") || text.contains("GROUP BY clause") {
        return not_grouped(text, tokens);
    }
    if let Some(call) = between(text, "given name and argument types '", "'") {
        return wrong_arguments(call, text, tokens);
    }
    if let Some(name) = between(text, "call to '", "' function").or_else(|| between(text, "Function '", "'")) {
        let error = Error::invalid(134, format!("{name} does not take these arguments: {}", reason(text)))
            .with_hint(format!("`rheos functions {name}` shows how it is called"));
        return with(error, find_word(tokens, name));
    }
    if let Some((left, op, right)) = operator_types(text) {
        let what = format!("{} {op} {}", in_sql(left), in_sql(right));
        let is_interval = |side: &str| side.starts_with("Interval");
        let hint = match (is_text(left), is_text(right)) {
            _ if op == "*" && (is_interval(left) || is_interval(right)) => {
                "write the stretch as a whole, as in INTERVAL '2' HOUR"
            }
            _ if left.contains("Struct(") && right.contains("Struct(") => ROWS_BY_NAME,
            (true, false) | (false, true) => "cast one side, as in CAST(x AS BIGINT)",
            _ => "cast one side to the other's type",
        };
        let error = Error::invalid(135, format!("there is no operation {what}")).with_hint(hint);
        return with(error, find_operator(tokens, op));
    }
    if let Some(error) = misshapen(text, tokens) {
        return error;
    }
    for (marker, code, message, hint) in MARKED {
        if text.to_lowercase().contains(&marker.to_lowercase()) {
            let at = message.contains("WHERE").then(|| aggregate_in_where(tokens, catalog)).flatten();
            return with(Error::invalid(*code, *message).with_hint(*hint), at);
        }
    }
    let error = Error::invalid(151, format!("the query does not fit: {}", shorten(text)))
        .with_hint("look at the types and names at this place");
    with(error, text.split('\'').nth(1).and_then(|t| find_text(tokens, t)))
}

/// What does not fit in its number of columns or in its kind, with a place where the tokens tell it.
fn misshapen(text: &str, tokens: &[TokenWithSpan]) -> Option<Error> {
    let say = |code, message: String, hint: &str, at| Some(with(Error::invalid(code, message).with_hint(hint), at));
    if let Some((columns, names)) = between(text, "Source table contains ", " names given as column alias")
        .and_then(|t| t.split_once(" columns but only "))
        .and_then(|(columns, names)| Some((columns.parse().ok()?, names.parse().ok()?)))
    {
        let message = format!("the number of column names does not fit the columns: {names} for {columns}");
        return say(143, message, "give one name for each column", places::alias_list(tokens, columns, names));
    }
    if text.contains("queries have different number of columns") {
        let message = "the parts of a UNION have different numbers of columns".to_string();
        return say(143, message, "select the same number of columns in each part", places::behind_union(tokens));
    }
    if text.contains("should only return one column") {
        let message = "a subquery as a value, or behind IN, has one column".to_string();
        return say(143, message, "select one column, or write a subquery for each", None);
    }
    if let Some((_, name)) = text.split_once("Invalid qualifier ") {
        let name = name.split_whitespace().next().unwrap_or(name);
        let message = format!("there is no table '{name}' in this query for {name}.*");
        let fields = format!("the fields of a row are named one by one, as in {name}.a, {name}.b");
        let tables = places::tables(tokens);
        let hint = match tables.is_empty() {
            true => fields,
            false => did_you_mean(
                name,
                tables.iter().copied(),
                &format!("the tables here are: {}; {fields}", tables.join(", ")),
            ),
        };
        return say(131, message, &hint, places::all_of(tokens, name));
    }
    if let Some(column) = between(text, "Argument ", " to grouping function is not in grouping columns") {
        let shown = without_types(column);
        let bare = if shown == column { column.rsplit('.').next().unwrap_or(column) } else { &shown };
        let at = places::in_call(tokens, "grouping", column).or_else(|| places::call(tokens, "grouping"));
        if bare.chars().all(|c| c.is_ascii_digit() || c == '.') {
            let message = format!("grouping takes columns of GROUP BY, and {bare} is none");
            return say(136, message, "name the column, as in grouping(a)", at);
        }
        let message = format!("grouping({bare}) needs '{bare}' in GROUP BY");
        let hint = format!("add {bare} to the columns that are grouped, or take grouping({bare}) away");
        return say(136, message, &hint, at);
    }
    if let Some(predicate) = between(text, "Cannot create filter with non-boolean predicate '", "' returning ") {
        let kind = text.rsplit(" returning ").next().map(shorten).unwrap_or_default();
        let message = format!("a condition must be true or false, and this one is of type {}", kind.to_uppercase());
        return say(
            135,
            message,
            "compare the value with something, as in x > 0",
            places::condition(tokens, predicate),
        );
    }
    if text.contains("unnest() can only be applied") {
        let message = "UNNEST takes a list, and this is none".to_string();
        return say(135, message, "give it a column of type ARRAY<...>", places::arguments(tokens, "unnest"));
    }
    None
}

/// Functions of Flink whose nearest name here does something else, and what to write.
const ELSEWHERE: &[(&str, &str)] = &[
    ("dayofweek", "write extract(dow FROM ts) + 1, which is 1 on Sundays; extract(isodow FROM ts) is 1 on Mondays"),
    ("json_string", "CAST(x AS STRING) writes rows, lists and maps as JSON"),
];

fn unknown_function(name: &str, tokens: &[TokenWithSpan], catalog: &Catalog) -> Error {
    let at = find_word(tokens, name);
    let lower = name.to_lowercase();
    let error = Error::invalid(133, format!("there is no function '{name}'"));
    if let Some(usage) = group_windows::usage_of(&lower) {
        let error = Error::invalid(147, format!("{name} needs its window in GROUP BY"))
            .with_hint(format!("{usage}, or use the window as a table in FROM"));
        return with(error, at);
    }
    if ["row_number", "rank", "dense_rank", "lag", "lead", "ntile"].contains(&lower.as_str()) {
        let error = Error::invalid(142, format!("{name} is a window function over rows, which is not supported yet"))
            .with_hint("use GROUP BY with a window");
        return with(error, at);
    }
    if let Some((_, instead)) = ELSEWHERE.iter().find(|(name, _)| *name == lower) {
        return with(error.with_hint(*instead), at);
    }
    let fallback = "`rheos functions` lists all functions";
    with(error.with_hint(did_you_mean(&lower, catalog.function_names(), fallback)), at)
}

fn not_grouped(text: &str, tokens: &[TokenWithSpan]) -> Error {
    let quoted = between(text, "column \"", "\" must appear").or_else(|| between(text, "'", "' must appear"));
    let column = quoted.or_else(|| between(text, "Expression ", " could not be resolved"));
    let column =
        column.or_else(|| between(text, "Column in SELECT", "'")).unwrap_or("a column of SELECT").replace('"', "");
    let bare = column.rsplit('.').next().unwrap_or(&column).to_string();
    let at = find_text(tokens, &column).or_else(|| find_word(tokens, &bare));
    let error = Error::invalid(136, format!("'{bare}' must appear in GROUP BY or in an aggregate"))
        .with_hint(format!("add {bare} to GROUP BY, or write an aggregate such as max({bare})"));
    with(error, at)
}

/// How a function is called, in our words; `None` where the library's are about its own workings.
fn signature(candidate: &str) -> Option<String> {
    let words = [
        ("Numeric(1)", "number"),
        ("Numeric(2)", "number, number"),
        ("String(1)", "text"),
        ("String(2)", "text, text"),
        (": String", ": STRING"),
        ("(String,", "(STRING,"),
        (", String", ", STRING"),
        ("(String)", "(STRING)"),
        ("(Decimal)", "(DECIMAL)"),
    ];
    let shown = words.iter().fold(candidate.to_string(), |text, (from, to)| text.replace(from, to));
    let plain = [
        "Numeric(",
        "String(",
        "Coercible",
        "Exact",
        "Uniform",
        "Any(",
        "Variadic",
        "UserDefined",
        "Signature",
        "{",
        "[",
    ];
    (!plain.iter().any(|word| shown.contains(word))).then(|| in_sql(&shown))
}

fn wrong_arguments(call: &str, text: &str, tokens: &[TokenWithSpan]) -> Error {
    let (name, args) = call.split_once('(').unwrap_or((call, ""));
    let args = in_sql(args.strip_suffix(')').unwrap_or(args));
    let candidates: Vec<_> = text
        .split_once("Candidate functions:")
        .map(|(_, list)| list.lines().map(str::trim).filter(|l| !l.is_empty()).take(3).filter_map(signature).collect())
        .unwrap_or_default();
    let what =
        if args.is_empty() { format!("{name} needs arguments") } else { format!("{name} does not take ({args})") };
    let hint = match candidates.as_slice() {
        [] => format!("`rheos functions {name}` shows how it is called"),
        list => format!("it is called as {}; cast the argument, or see `rheos functions {name}`", list.join(" or ")),
    };
    with(Error::invalid(134, what).with_hint(hint), find_word(tokens, name))
}

/// `Cannot coerce arithmetic expression Utf8 + Int64 to valid types` and its like.
fn operator_types(text: &str) -> Option<(&str, &str, &str)> {
    let rest = [
        "Cannot coerce arithmetic expression ",
        "comparison operation ",
        "Cannot infer common argument type for logical boolean operation ",
        "string concat operation: ",
        "string concat operation ",
        "regex operation: ",
        "Cannot get result type for temporal operation ",
    ]
    .iter()
    .find_map(|marker| text.find(marker).map(|at| &text[at + marker.len()..]))?;
    let rest = rest.split(" to valid types").next().unwrap_or(rest);
    let rest = rest.lines().next().unwrap_or(rest);
    // What the library says of its own types.
    let rest = rest.split(": Invalid argument").next().unwrap_or(rest);
    let ops = [
        " IS NOT DISTINCT FROM ",
        " IS DISTINCT FROM ",
        " <= ",
        " >= ",
        " != ",
        " <> ",
        " = ",
        " < ",
        " > ",
        " + ",
        " - ",
        " * ",
        " / ",
        " % ",
        " || ",
        " AND ",
        " OR ",
        " ~ ",
    ];
    ops.iter().find_map(|op| rest.split_once(op).map(|(left, right)| (left, op.trim(), right)))
}

fn is_text(data_type: &str) -> bool {
    data_type.contains("Utf8")
}

fn find_operator(tokens: &[TokenWithSpan], op: &str) -> Option<Span> {
    let matches =
        |t: &&TokenWithSpan| t.token.to_string().eq_ignore_ascii_case(op) || (op == "!=" && t.token == Token::Neq);
    let mut all = tokens.iter().filter(matches);
    // With several of them the place would be a guess.
    let first = all.next()?;
    all.next().is_none().then(|| place(first.span))
}

fn reason(text: &str) -> String {
    let last = text.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or_default();
    shorten(last)
}

/// The first sentence, without prefixes of the library and with our names of types.
pub(super) fn shorten(text: &str) -> String {
    let mut text = text.trim();
    let prefixes = [
        "Error during planning: ",
        "Schema error: ",
        "Execution error: ",
        "Internal error: ",
        "Arrow error: ",
        "This feature is not implemented: ",
        "Optimizer rule ",
        "type_coercion",
        "caused by",
        "Cast error: ",
        "Parser error: ",
        "Invalid argument error: ",
        "Compute error: ",
    ];
    while let Some(rest) = prefixes.iter().find_map(|p| text.strip_prefix(p)) {
        text = rest.trim_start_matches(['\n', ' ', ':']);
    }
    let first = text.lines().next().unwrap_or_default();
    let first = first.split(". ").next().unwrap_or(first).split("This issue was likely").next().unwrap_or(first);
    let first = &without_structures(first);
    let mut short: String = in_sql(&without_types(first.trim_end_matches(['.', ' ']))).chars().take(240).collect();
    if let Some(c) = short.chars().next()
        && !short.chars().nth(1).is_some_and(char::is_uppercase)
    {
        short.replace_range(..c.len_utf8(), &c.to_lowercase().to_string());
    }
    short
}

/// A text up to the first structure of a library in it, such as `Ident { value: "x" }`, and in our words.
fn without_structures(text: &str) -> String {
    // What is in quotes is the user's.
    let is_bare = |at: &usize| text[..*at].matches('\'').count().is_multiple_of(2);
    let marks = [" { ", "::"].iter().filter_map(|mark| text.find(mark)).filter(is_bare);
    let text = match marks.min() {
        // The word before the mark is the structure's name.
        Some(at) => text[..at].rsplit_once(char::is_whitespace).map_or("", |(before, _)| before),
        None => text,
    };
    let text = text.trim_end_matches([':', ',', ' ', '(', '[']);
    let lower = text.to_lowercase();
    match text.is_empty() || ["logical expression", "ast node"].iter().any(|internal| lower.contains(internal)) {
        true => "an expression of this kind at this place".to_string(),
        false => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_structure_of_a_library_reaches_the_user() {
        let cases = [
            (
                "Physical plan does not support logical expression WindowFunction(WindowFunction { fun: 1 })",
                "an expression of this kind at this place",
            ),
            ("Unsupported function argument: Wildcard(Ident { value: \"x\" })", "unsupported function argument"),
            ("Error during planning: No such thing as sqlparser::ast::Expr", "no such thing as"),
            (
                "Cannot cast string '{ a::b }' to value of Int64 type",
                "cannot cast string '{ a::b }' to value of BIGINT type",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(shorten(text), expected, "{text}");
        }
    }
}
