//! Functions of texts.
//!
//! `SPLIT_INDEX` follows Flink's `splitByWholeSeparatorPreserveAllTokens`: an empty text has no parts, and an empty
//! delimiter stands for any blank. `SPLIT_PART` is PostgreSQL's; DataFusion's costs three times as much on short parts.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringBuilder, new_null_array};
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::DataType;
use datafusion_common::{DataFusionError, Result as DfResult};
use datafusion_expr::ReturnFieldArgs;
use regex::{CaptureLocations, Regex};
use rheos_core::error::Error;
use rheos_core::types::display;

use super::last_group::LastGroup;
use super::{Builtin, Call, a_text, an_integer, anything, bigint, texts};

pub(super) fn functions() -> Vec<Builtin> {
    let (text, integer) = (a_text, an_integer);
    vec![
        Builtin::new(
            "split_index",
            vec![vec![text(), text(), integer()]],
            texts,
            |call| parts(call, part_at),
            (
                "split_index(text, delimiter, index)",
                "The part of a text at an index, from 0; NULL where there is no such part.",
            ),
        ),
        Builtin::new(
            "split_part",
            vec![vec![text(), text(), integer()]],
            texts,
            |call| parts(call, part_from_one),
            (
                "split_part(text, delimiter, position)",
                "The part of a text at a position, from 1, or from -1 backwards; an empty text where there is no such part.",
            ),
        ),
        Builtin::new(
            "count_char",
            vec![vec![text(), text()]],
            bigint,
            |call| Ok(Arc::new(call.map_texts(|[text, part]| Some(count(text, part)))?)),
            ("count_char(text, char)", "How often a character, or a longer part without overlaps, occurs in a text."),
        ),
        Builtin::new(
            "octet_length",
            vec![vec![anything()]],
            octet_length_type,
            octet_length,
            ("octet_length(text or bytes)", "How many bytes a text or a value of BYTES has."),
        ),
        Builtin::new(
            "regexp_extract",
            vec![vec![text(), text()], vec![text(), text(), integer()]],
            texts,
            regexp_extract,
            (
                "regexp_extract(text, pattern [, group])",
                "What a group of a regular expression matches first; group 0, the default, is the whole match. NULL \
                 without a match.",
            ),
        ),
    ]
}

/// What a part takes, about: to reserve memory once.
const PART_BYTES: usize = 16;

fn octet_length_type(args: &ReturnFieldArgs<'_>) -> DfResult<DataType> {
    let given = args.arg_fields.first().map_or(&DataType::Null, |f| f.data_type());
    if given.is_string() || given.is_binary() || given.is_null() {
        return Ok(DataType::Int64);
    }
    let error = Error::invalid(134, format!("'octet_length' takes a text or BYTES, and this is {}", display(given)));
    Err(DataFusionError::External(Box::new(error.with_hint("cast it, as in octet_length(CAST(x AS STRING))"))))
}

fn octet_length(call: &Call<'_>) -> DfResult<ArrayRef> {
    let values = call.arg(0)?.to_array(call.rows)?;
    match values.data_type() {
        DataType::Null => Ok(new_null_array(&DataType::Int64, call.rows)),
        _ => Ok(cast(&length(&values)?, &DataType::Int64)?),
    }
}

/// A part of a text by a delimiter and a number.
type Part = for<'t> fn(&'t str, &str, i64) -> Option<&'t str>;

fn parts(call: &Call<'_>, part: Part) -> DfResult<ArrayRef> {
    let (texts, delimiters, numbers) = (call.texts(0)?, call.texts(1)?, call.integers(2)?);
    let mut parts = StringBuilder::with_capacity(call.rows, call.rows * PART_BYTES);
    for row in 0..call.rows {
        let number = numbers.is_valid(row).then(|| numbers.value(row));
        parts.append_option(match (texts.get(row), delimiters.get(row), number) {
            (Some(text), Some(delimiter), Some(number)) => part(text, delimiter, number),
            _ => None,
        });
    }
    Ok(Arc::new(parts.finish()))
}

/// `SPLIT_INDEX`.
fn part_at<'t>(text: &'t str, delimiter: &str, index: i64) -> Option<&'t str> {
    let index = usize::try_from(index).ok()?;
    match delimiter.as_bytes() {
        _ if text.is_empty() => None,
        [] => text.split(char::is_whitespace).nth(index),
        // One byte is what nearly all delimiters are, and a byte is found without a searcher of its own for each row.
        [byte] => part_between(text, *byte, index),
        _ => text.split(delimiter).nth(index),
    }
}

/// `SPLIT_PART`.
fn part_from_one<'t>(text: &'t str, delimiter: &str, position: i64) -> Option<&'t str> {
    let index = usize::try_from(position.unsigned_abs()).ok().and_then(|n| n.checked_sub(1));
    let part = index.and_then(|index| match delimiter.as_bytes() {
        [] => (index == 0).then_some(text),
        [byte] if position > 0 => part_between(text, *byte, index),
        _ if position > 0 => text.split(delimiter).nth(index),
        _ => text.rsplit(delimiter).nth(index),
    });
    Some(part.unwrap_or_default())
}

/// The part of `text` at `index` between bytes that are characters of their own.
fn part_between(text: &str, delimiter: u8, index: usize) -> Option<&str> {
    let bytes = text.as_bytes();
    let start = match index.checked_sub(1) {
        Some(before) => nth_byte(bytes, delimiter, before)? + 1,
        None => 0,
    };
    let end = nth_byte(&bytes[start..], delimiter, 0).map_or(text.len(), |n| start + n);
    Some(&text[start..end])
}

/// Where a byte stands for the `n`th time, from 0. Eight bytes at once: parts are mostly a few bytes long, and a search
/// that begins anew behind each of them costs more than it finds.
fn nth_byte(bytes: &[u8], byte: u8, mut n: usize) -> Option<usize> {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let pattern = u64::from_ne_bytes([byte; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let other = u64::from_le_bytes(*word) ^ pattern;
        // The highest bit of each byte that is equal; no carry crosses a byte.
        let mut equal = !(((other & LOW) + LOW) | other | LOW);
        let here = equal.count_ones() as usize;
        if n < here {
            for _ in 0..n {
                equal &= equal - 1;
            }
            return Some(i * 8 + equal.trailing_zeros() as usize / 8);
        }
        n -= here;
    }
    let found = rest.iter().enumerate().filter(|(_, b)| **b == byte).nth(n);
    found.map(|(i, _)| words.len() * 8 + i)
}

fn count(text: &str, part: &str) -> i64 {
    let found = match part.as_bytes() {
        [] => 0,
        [byte] => text.bytes().filter(|b| b == byte).count(),
        _ => text.matches(part).count(),
    };
    i64::try_from(found).unwrap_or(i64::MAX)
}

fn regexp_extract(call: &Call<'_>) -> DfResult<ArrayRef> {
    let (texts, patterns) = (call.texts(0)?, call.texts(1)?);
    let groups = if call.args.len() > 2 { Some(call.integers(2)?) } else { None };
    let mut found = StringBuilder::with_capacity(call.rows, call.rows * PART_BYTES);
    // The pattern of the row before: a literal is looked up once a batch.
    let mut last: Option<(&str, Option<Search>)> = None;
    for row in 0..call.rows {
        let group = groups.as_ref().map_or(Some(0), |g| g.is_valid(row).then(|| g.value(row)));
        let (Some(text), Some(pattern), Some(group)) = (texts.get(row), patterns.get(row), group) else {
            found.append_null();
            continue;
        };
        if last.as_ref().is_none_or(|(known, _)| !std::ptr::eq(*known, pattern) && *known != pattern) {
            last = Some((pattern, compiled(pattern).map(Search::new)));
        }
        let search = last.as_mut().and_then(|(_, search)| search.as_mut());
        found.append_option(search.and_then(|search| search.extract(text, group)));
    }
    Ok(Arc::new(found.finish()))
}

/// A pattern, and room for the places of its groups, which are found for each row anew.
struct Search {
    pattern: Rc<Pattern>,
    places: CaptureLocations,
}

/// A compiled pattern.
struct Pattern {
    regex: Regex,
    last_group: Option<LastGroup>,
}

impl Search {
    fn new(pattern: Rc<Pattern>) -> Self {
        Self { places: pattern.regex.capture_locations(), pattern }
    }

    fn extract<'t>(&mut self, text: &'t str, group: i64) -> Option<&'t str> {
        let Pattern { regex, last_group } = self.pattern.as_ref();
        match (usize::try_from(group).ok()?, last_group) {
            (0, _) => regex.find(text).map(|m| m.as_str()),
            (1, Some(group)) => group.find(text),
            (group, _) => {
                regex.captures_read(&mut self.places, text)?;
                self.places.get(group).map(|(start, end)| &text[start..end])
            }
        }
    }
}

/// Patterns that a thread keeps compiled. More are compiled again in each batch.
const COMPILED_MAX: usize = 64;

/// A compiled pattern, also across batches; `None`: it is not a regular expression.
fn compiled(pattern: &str) -> Option<Rc<Pattern>> {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, Option<Rc<Pattern>>>> = RefCell::new(HashMap::new());
    }
    COMPILED.with_borrow_mut(|known| {
        if let Some(compiled) = known.get(pattern) {
            return compiled.clone();
        }
        if known.len() >= COMPILED_MAX {
            known.clear();
        }
        let regex = Regex::new(pattern).ok();
        let compiled = regex.map(|regex| Rc::new(Pattern { regex, last_group: LastGroup::of(pattern) }));
        known.insert(pattern.to_string(), compiled.clone());
        compiled
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_are_those_of_split(text in "[/a\u{80}-\u{ff}x]{0,40}", index in 0i64..12) {
            let n = usize::try_from(index).unwrap();
            let want = if text.is_empty() { None } else { text.split('/').nth(n) };
            prop_assert_eq!(part_at(&text, "/", index), want);
            prop_assert_eq!(part_from_one(&text, "/", index + 1), Some(text.split('/').nth(n).unwrap_or("")));
            prop_assert_eq!(part_from_one(&text, "/", -index - 1), Some(text.rsplit('/').nth(n).unwrap_or("")));
        }
    }

    #[test]
    fn split_part_is_postgresqls_but_for_position_0() {
        let part = |text, delimiter, position| part_from_one(text, delimiter, position).unwrap();
        assert_eq!(part("a--b--c", "--", 2), "b");
        assert_eq!(part("a--b--c", "--", -1), "c");
        assert_eq!([part("ab", "", 1), part("ab", "", -1), part("ab", "", 2)], ["ab", "ab", ""]);
        assert_eq!([part("", ",", 1), part("a,b", ",", 3), part("a,b", ",", -3)], [""; 3]);
        // PostgreSQL ends the query, which a stream must not do for a row.
        assert_eq!(part("a,b", ",", 0), "");
        assert_eq!([part("a", ",", i64::MIN), part("a", ",", i64::MAX)], [""; 2]);
    }
}
