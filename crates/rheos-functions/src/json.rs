//! `JSON_VALUE`, `JSON_QUERY`, `JSON_EXISTS`, and the text that `->>` takes out of JSON.
//!
//! A malformed text gives NULL (`JSON_EXISTS`: false), as `NULL ON ERROR` says. What stands in the call behind the path
//! (`RETURNING`, `ON EMPTY`, ..) has become arguments: see `syntax`.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{CastOptions, cast_with_options};
use datafusion_common::Result as DfResult;

use super::json_path::{Kind, Path, as_text, compact, is_json, kind};
use super::{Builtin, Call, a_text, an_integer, anything, boolean, texts};

pub(super) fn functions() -> Vec<Builtin> {
    let (text, integer) = (a_text, an_integer);
    vec![
        Builtin::new(
            "json_value",
            vec![vec![text(), text()], vec![text(), text(), anything(), anything()]],
            |args| Ok(args.arg_fields.get(2).map_or(arrow::datatypes::DataType::Utf8, |f| f.data_type().clone())),
            json_value,
            (
                "json_value(text, path [RETURNING type] [NULL | DEFAULT value ON EMPTY] [NULL | DEFAULT value ON ERROR])",
                "The text, number or boolean at a path of a JSON text, as STRING or the type that is named.",
            ),
        ),
        Builtin::new(
            "json_query",
            vec![vec![text(), text()], vec![text(), text(), text()]],
            texts,
            json_query,
            (
                "json_query(text, path [WITH [CONDITIONAL | UNCONDITIONAL] ARRAY WRAPPER])",
                "The object or array at a path of a JSON text, as JSON; with [*] in the path an array of all that is there.",
            ),
        ),
        Builtin::new(
            "json_exists",
            vec![vec![text(), text()]],
            boolean,
            |call| {
                let mut paths = Paths::default();
                Ok(Arc::new(by_row::<arrow::array::BooleanArray, bool>(call, |text, path| {
                    let found = is_json(text).then(|| paths.get(path)?.find(text)).flatten();
                    Some(found.is_some_and(|f| !f.is_empty()))
                })?))
            },
            ("json_exists(text, path)", "Whether a JSON text has something at a path; false for a malformed text."),
        ),
        Builtin::new(
            "json_extract_string",
            vec![vec![text(), text()], vec![text(), integer()]],
            texts,
            json_extract_string,
            (
                "json_extract_string(text, name | path | index)",
                "What text ->> name gives: the member of a JSON object, the element of an array (from 0), or what is at a path that begins with $, as text.",
            ),
        ),
        Builtin::new(
            "json_extract",
            vec![vec![text(), text()], vec![text(), integer()]],
            texts,
            json_extract,
            (
                "json_extract(text, name | path | index)",
                "What text -> name gives: as json_extract_string, but as JSON: a text stays in its quotes, and null is null.",
            ),
        ),
    ]
}

/// The path of the row before: a literal is read once a batch.
#[derive(Default)]
struct Paths {
    last: Option<(String, Option<Path>)>,
}

impl Paths {
    fn get(&mut self, text: &str) -> Option<&Path> {
        if self.last.as_ref().is_none_or(|(known, _)| known != text) {
            self.last = Some((text.to_string(), Path::parse(text).ok()));
        }
        self.last.as_ref()?.1.as_ref()
    }
}

/// One value for each row whose text and path are not NULL.
fn by_row<A: FromIterator<Option<T>>, T>(call: &Call<'_>, mut f: impl FnMut(&str, &str) -> Option<T>) -> DfResult<A> {
    let (texts, paths) = (call.texts(0)?, call.texts(1)?);
    Ok((0..call.rows).map(|row| f(texts.get(row)?, paths.get(row)?)).collect())
}

/// What `JSON_VALUE` finds.
enum Found<'t> {
    Value(Cow<'t, str>),
    Empty,
    Failed,
}

fn scalar<'t>(text: &'t str, path: &Path) -> Found<'t> {
    if !is_json(text) {
        return Found::Failed;
    }
    let missing = if path.strict { Found::Failed } else { Found::Empty };
    let Some(values) = path.find(text) else { return missing };
    match values.as_slice() {
        [value] if !path.is_many() => match kind(value) {
            Kind::Null => Found::Empty,
            Kind::Text | Kind::Other => as_text(value).map_or(Found::Failed, Found::Value),
            Kind::Array | Kind::Object => missing,
        },
        _ => missing,
    }
}

fn json_value(call: &Call<'_>) -> DfResult<ArrayRef> {
    let mut paths = Paths::default();
    let (texts, path_texts) = (call.texts(0)?, call.texts(1)?);
    let (mut values, mut empty) = (Vec::with_capacity(call.rows), Vec::with_capacity(call.rows));
    let mut failed = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let found = match (texts.get(row), path_texts.get(row)) {
            (Some(text), Some(path)) => Some(paths.get(path).map_or(Found::Failed, |path| scalar(text, path))),
            _ => None,
        };
        empty.push(matches!(found, Some(Found::Empty)));
        failed.push(matches!(found, Some(Found::Failed)));
        values.push(if let Some(Found::Value(value)) = found { Some(value) } else { None });
    }
    let values: ArrayRef = Arc::new(values.into_iter().collect::<StringArray>());
    if call.args.len() < 4 {
        return Ok(values);
    }
    // Only the type of the two defaults is known, and what does not fit it is an error as a malformed text is.
    let typed = cast_with_options(&values, call.returns, &CastOptions { safe: true, ..CastOptions::default() })?;
    for (row, failed) in failed.iter_mut().enumerate() {
        *failed |= typed.is_null(row) && values.is_valid(row);
    }
    let (on_empty, on_error) = (call.column(2, call.returns)?, call.column(3, call.returns)?);
    let typed = zip(&empty.into(), &on_empty, &typed)?;
    Ok(zip(&failed.into(), &on_error, &typed)?)
}

fn json_query(call: &Call<'_>) -> DfResult<ArrayRef> {
    let mut paths = Paths::default();
    let wrapper = if call.args.len() > 2 { call.texts(2)?.get(0).map(str::to_string) } else { None };
    Ok(Arc::new(by_row::<StringArray, String>(call, |text, path| {
        let path = paths.get(path)?;
        let values = is_json(text).then(|| path.find(text)).flatten()?;
        if path.is_many() {
            let parts: Vec<_> = values.into_iter().map(compact).collect();
            let array = format!("[{}]", parts.join(","));
            return Some(if wrapper.as_deref() == Some("unconditional") { format!("[{array}]") } else { array });
        }
        let value = *values.first()?;
        let json = compact(value);
        match (kind(value), wrapper.as_deref()) {
            (Kind::Null, _) => None,
            (Kind::Array, Some("conditional")) | (Kind::Array | Kind::Object, None) => Some(json.into_owned()),
            (_, Some(_)) => Some(format!("[{json}]")),
            (_, None) => None,
        }
    })?))
}

fn json_extract_string(call: &Call<'_>) -> DfResult<ArrayRef> {
    extract(call, |value| as_text(value).map(Cow::into_owned))
}

fn json_extract(call: &Call<'_>) -> DfResult<ArrayRef> {
    extract(call, |value| Some(compact(value).into_owned()))
}

/// What a name, a path or an index finds; of a path that may find many, a JSON array of all.
fn extract(call: &Call<'_>, show: impl Fn(&str) -> Option<String>) -> DfResult<ArrayRef> {
    let found = |text: &str, path: &Path| {
        let values = is_json(text).then(|| path.find(text)).flatten()?;
        match path.is_many() {
            true => Some(format!("[{}]", values.into_iter().map(compact).collect::<Vec<_>>().join(","))),
            false => show(values.first()?),
        }
    };
    if call.arg(1)?.data_type().is_integer() {
        let (texts, indexes) = (call.texts(0)?, call.integers(1)?);
        let row = |row: usize| {
            let index = usize::try_from(indexes.is_valid(row).then(|| indexes.value(row))?).ok()?;
            found(texts.get(row)?, &Path::index(index))
        };
        return Ok(Arc::new((0..call.rows).map(row).collect::<StringArray>()));
    }
    let mut paths = Paths::default();
    Ok(Arc::new(by_row::<StringArray, String>(call, |text, key| match key.starts_with('$') {
        true => found(text, paths.get(key)?),
        false => found(text, &Path::name(key)),
    })?))
}
