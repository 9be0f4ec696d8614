//! How each column is made: its options read, checked against its type, and resolved to a rule.

use arrow::datatypes::{DataType, Field, TimeUnit};
use rheos_core::error::did_you_mean;
use rheos_core::options::{OptionDef, OptionType, Options};
use rheos_core::units::parse_duration_ms;
use rheos_core::{Error, Result};

use super::decimal::parse_decimal;
use super::random::RandomStream;
use crate::nexmark::config::parse_time_us;

/// The options of a column; `*` is its name.
pub(super) const COLUMN_OPTIONS: &[OptionDef] = &[
    OptionDef::new("fields.*.kind", OptionType::OneOf(&["random", "sequence"]), "", "Random (default) or sequence."),
    OptionDef::new("fields.*.min", OptionType::Text, "", "Smallest random value."),
    OptionDef::new("fields.*.max", OptionType::Text, "", "Largest random value."),
    OptionDef::new("fields.*.start", OptionType::Text, "", "First value of a sequence."),
    OptionDef::new("fields.*.end", OptionType::Text, "", "Last value of a sequence; the table ends with it."),
    OptionDef::new("fields.*.step", OptionType::Text, "", "Distance of a sequence: a number, or a duration for times."),
    OptionDef::new(
        "fields.*.length",
        OptionType::Integer { min: 0, max: 65_536 },
        "",
        "Characters of a random text, or random bytes (default 100).",
    ),
    OptionDef::new("fields.*.null-rate", OptionType::Text, "", "Share of NULLs, from 0 to 1 (default 0)."),
    OptionDef::new(
        "fields.*.max-past",
        OptionType::Duration,
        "",
        "A random timestamp is its sequence's value less up to so much, so rows are out of order.",
    ),
];

/// Where timestamps and dates begin unless told otherwise: fixed, so that a table can be made again.
const START: &str = "2025-01-01 00:00:00";

const DAY_US: i64 = 86_400_000_000;

/// How the values of a column are found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rule {
    /// `start + row * step`.
    Sequence { start: i128, step: i128 },
    /// As `Sequence`, in floating point.
    FloatSequence { start: f64, step: f64 },
    /// Even over `min..=max`.
    Whole { min: i128, max: i128 },
    /// Even over `min..max`.
    Float { min: f64, max: f64 },
    /// Either with even odds.
    Bool,
    /// `length` letters, or bytes.
    Text { length: usize },
    /// `start + row * step`, less `0..=max_past`.
    Past { start: i128, step: i128, max_past: i128 },
}

/// A column: its rule, and the streams that it draws from.
#[derive(Debug, Clone)]
pub(super) struct ColumnSpec {
    pub(super) rule: Rule,
    pub(super) null_rate: f64,
    pub(super) values: RandomStream,
    pub(super) nulls: RandomStream,
    /// Rows until a sequence has reached its end.
    pub(super) rows: Option<u64>,
}

/// Reads the options of one column.
struct ColumnOptions<'a> {
    field: &'a Field,
    options: &'a Options,
}

/// The columns of a table in their order. `step_us` is the distance of timestamps unless told otherwise.
///
/// Errors: `Invalid` for an option of a column that there is not, one that does not fit the column's type, or a type
/// that cannot be made.
pub(super) fn columns(fields: &[&Field], options: &Options, seed: u64, step_us: i64) -> Result<Vec<ColumnSpec>> {
    let names = || fields.iter().map(|f| f.name().as_str());
    for (name, _) in options.iter().filter(|(name, _)| name.starts_with("fields.")) {
        let column = name.trim_start_matches("fields.").rsplit_once('.').map_or("", |(column, _)| column);
        if !names().any(|n| n == column) {
            let list = names().collect::<Vec<_>>().join(", ");
            return Err(Error::invalid(290, format!("option '{name}' is for a column '{column}', but there is none"))
                .with_hint(did_you_mean(column, names(), &format!("the columns are: {list}"))));
        }
    }
    let columns = fields.iter().enumerate().map(|(i, field)| {
        let reader = ColumnOptions { field, options };
        let null_rate = reader.null_rate()?;
        let (rule, rows) = reader.rule(step_us)?;
        let stream = |part| RandomStream::new(seed, 2 * i as u64 + part);
        Ok(ColumnSpec { rule, null_rate, values: stream(0), nulls: stream(1), rows })
    });
    columns.collect()
}

impl ColumnOptions<'_> {
    fn get(&self, option: &str) -> Option<&str> {
        self.options.get(&format!("fields.{}.{option}", self.field.name()))
    }

    fn refuse(&self, option: &str, why: &str, hint: &str) -> Error {
        let name = self.field.name();
        let value = self.get(option).unwrap_or_default();
        Error::invalid(291, format!("option 'fields.{name}.{option}' is '{value}', but {why}")).with_hint(hint)
    }

    fn time(&self, option: &str, text: &str) -> Result<i64> {
        parse_time_us(text).map_err(|e| e.context(format!("option 'fields.{}.{option}'", self.field.name())))
    }

    fn duration_ms(&self, option: &str, text: &str) -> Result<i64> {
        parse_duration_ms(text).map_err(|e| e.context(format!("option 'fields.{}.{option}'", self.field.name())))
    }

    fn null_rate(&self) -> Result<f64> {
        let Some(text) = self.get("null-rate") else { return Ok(0.0) };
        let rate = text.parse::<f64>().ok().filter(|r| (0.0..=1.0).contains(r));
        let rate = rate.ok_or_else(|| {
            self.refuse("null-rate", "it must be a share from 0 to 1", "for one row in ten, write '0.1'")
        })?;
        if rate > 0.0 && !self.field.is_nullable() {
            return Err(self.refuse("null-rate", "the column is declared NOT NULL", "leave one of the two out"));
        }
        Ok(rate)
    }

    /// The rule, and the rows until a sequence ends.
    fn rule(&self, step_us: i64) -> Result<(Rule, Option<u64>)> {
        let is_sequence = self.get("kind") == Some("sequence");
        self.check_used(is_sequence)?;
        if is_sequence {
            return self.sequence(step_us);
        }
        Ok((self.random(step_us)?, None))
    }

    /// Refuses options that would have no effect.
    fn check_used(&self, is_sequence: bool) -> Result<()> {
        use DataType::*;
        let is_time = matches!(self.field.data_type(), Timestamp(..));
        let used: &[&str] = match self.field.data_type() {
            _ if is_sequence => &["start", "end", "step"],
            Boolean => &[],
            Utf8 | Utf8View | LargeUtf8 | Binary | BinaryView | LargeBinary => &["length"],
            Timestamp(..) if self.get("min").or(self.get("max")).is_some() => &["min", "max"],
            Timestamp(..) => &["start", "step", "max-past"],
            _ => &["min", "max"],
        };
        let unused = |o: &&&str| self.get(o).is_some() && !used.contains(*o);
        match ["min", "max", "start", "end", "step", "length", "max-past"].iter().find(unused) {
            None => Ok(()),
            Some(option) => {
                let why = match (is_sequence, is_time) {
                    (true, _) => "a sequence does not use it",
                    (false, true) => "a random timestamp has either a range or 'max-past'",
                    (false, false) => "a random column of this type does not use it",
                };
                let hint = match used {
                    [] => "leave it out".to_string(),
                    used => format!("it uses: {}", used.join(", ")),
                };
                Err(self.refuse(option, why, &hint))
            }
        }
    }

    fn sequence(&self, step_us: i64) -> Result<(Rule, Option<u64>)> {
        let data_type = self.field.data_type();
        if matches!(data_type, DataType::Float32 | DataType::Float64) {
            let start = self.float("start")?.unwrap_or(0.0);
            let step = self.float("step")?.unwrap_or(1.0);
            let rows = match self.float("end")? {
                Some(end) if (end - start) / step >= 0.0 => Some(((end - start) / step).floor() as u64 + 1),
                Some(_) => {
                    return Err(self.refuse(
                        "end",
                        "the sequence does not reach it",
                        "give start, end and step that go together",
                    ));
                }
                None => None,
            };
            return Ok((Rule::FloatSequence { start, step }, rows));
        }
        let unit = match data_type {
            DataType::Boolean | DataType::Binary | DataType::BinaryView | DataType::LargeBinary => {
                return Err(self.refuse("kind", "this type has no sequence", "use 'random'"));
            }
            DataType::Timestamp(..) => i128::from(step_us),
            DataType::Decimal128(_, scale) => 10i128.pow(u32::from(scale.unsigned_abs())),
            _ => 1,
        };
        let start = match self.whole("start")? {
            Some(start) => start,
            None => self.default_start()?,
        };
        let step = self.step()?.unwrap_or(unit);
        let Some(end) = self.whole("end")? else { return Ok((Rule::Sequence { start, step }, None)) };
        if step == 0 || (end - start) / step < 0 || (end - start).signum() * step.signum() < 0 {
            return Err(self.refuse(
                "end",
                "the sequence does not reach it",
                "give start, end and step that go together",
            ));
        }
        Ok((Rule::Sequence { start, step }, u64::try_from((end - start) / step + 1).ok()))
    }

    fn random(&self, step_us: i64) -> Result<Rule> {
        use DataType::*;
        Ok(match self.field.data_type() {
            Boolean => Rule::Bool,
            Utf8 | Utf8View | LargeUtf8 | Binary | BinaryView | LargeBinary => {
                let length = self.options.integer(&format!("fields.{}.length", self.field.name()));
                Rule::Text { length: length.map_or(100, |n| n as usize) }
            }
            Float32 | Float64 => {
                let (min, max) = (self.float("min")?, self.float("max")?);
                let min = min.unwrap_or_else(|| max.map_or(0.0, |m| m.min(0.0)));
                let max = max.unwrap_or(min + 1.0);
                self.check_range(min <= max)?;
                Rule::Float { min, max }
            }
            Timestamp(..) if self.get("min").or(self.get("max")).is_none() => Rule::Past {
                start: match self.whole("start")? {
                    Some(start) => start,
                    None => self.default_start()?,
                },
                step: self.step()?.unwrap_or(i128::from(step_us)),
                max_past: match self.get("max-past") {
                    Some(text) => i128::from(self.duration_ms("max-past", text)?) * 1000,
                    None => 0,
                },
            },
            data_type => {
                let (lowest, highest) = self.limits(data_type)?;
                let min = self.whole("min")?.unwrap_or(lowest);
                let max = self.whole("max")?.unwrap_or(highest);
                self.check_range(min <= max)?;
                Rule::Whole { min, max }
            }
        })
    }

    fn check_range(&self, in_order: bool) -> Result<()> {
        if in_order {
            return Ok(());
        }
        let option = if self.get("max").is_some() { "max" } else { "min" };
        Err(self.refuse(option, "the smallest value is above the largest", "exchange 'min' and 'max'"))
    }

    fn default_start(&self) -> Result<i128> {
        match self.field.data_type() {
            DataType::Timestamp(..) => Ok(parse_time_us(START)?.into()),
            DataType::Date32 => Ok((parse_time_us(START)? / DAY_US).into()),
            _ => Ok(0),
        }
    }

    /// What a random column holds unless told otherwise; for an integer the whole type.
    fn limits(&self, data_type: &DataType) -> Result<(i128, i128)> {
        use DataType::*;
        Ok(match data_type {
            Int8 => (i8::MIN.into(), i8::MAX.into()),
            Int16 => (i16::MIN.into(), i16::MAX.into()),
            Int32 => (i32::MIN.into(), i32::MAX.into()),
            Int64 => (i64::MIN.into(), i64::MAX.into()),
            UInt8 => (0, u8::MAX.into()),
            UInt16 => (0, u16::MAX.into()),
            UInt32 => (0, u32::MAX.into()),
            UInt64 => (0, u64::MAX.into()),
            Date32 => (0, (parse_time_us(START)? / DAY_US).into()),
            Timestamp(TimeUnit::Microsecond, _) => (0, parse_time_us(START)?.into()),
            Decimal128(precision, _) => {
                let largest = 10i128.pow(u32::from(*precision)) - 1;
                (-largest, largest)
            }
            other => {
                let name = self.field.name();
                return Err(Error::invalid(292, format!("datagen cannot make column '{name}' of type {other}"))
                    .with_hint(
                        "it makes BOOLEAN, all integers, FLOAT, DOUBLE, DECIMAL, VARCHAR, BYTES, DATE and TIMESTAMP",
                    ));
            }
        })
    }

    /// A bound in the column's own unit: days, microseconds, units of the last decimal place.
    fn whole(&self, option: &str) -> Result<Option<i128>> {
        let Some(text) = self.get(option) else { return Ok(None) };
        let value = match self.field.data_type() {
            DataType::Timestamp(..) => Some(i128::from(self.time(option, text)?)),
            DataType::Date32 => Some(i128::from(self.time(option, text)?.div_euclid(DAY_US))),
            DataType::Decimal128(_, scale) => parse_decimal(text, *scale),
            _ => text.trim().parse().ok(),
        };
        let value = value
            .ok_or_else(|| self.refuse(option, "it must be a value of the column's type", "a number such as '100'"))?;
        // A text column holds any whole number of a sequence.
        let (lowest, highest) = match self.field.data_type() {
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => (i64::MIN.into(), i64::MAX.into()),
            DataType::Date32 | DataType::Timestamp(..) => (i128::MIN, i128::MAX),
            data_type => self.limits(data_type)?,
        };
        if (lowest..=highest).contains(&value) {
            return Ok(Some(value));
        }
        Err(self.refuse(option, "it is out of the column's range", &format!("a value from {lowest} to {highest}")))
    }

    fn step(&self) -> Result<Option<i128>> {
        let Some(text) = self.get("step") else { return Ok(None) };
        let days = |ms: i64| (ms % 86_400_000 == 0).then_some(i128::from(ms / 86_400_000));
        let step = match self.field.data_type() {
            DataType::Timestamp(..) => Some(i128::from(self.duration_ms("step", text)?) * 1000),
            DataType::Date32 => days(self.duration_ms("step", text)?),
            DataType::Decimal128(_, scale) => parse_decimal(text, *scale),
            _ => text.trim().parse::<i64>().ok().map(i128::from),
        };
        let hint = "a whole number, or a duration such as '100 ms' for a timestamp and '1 d' for a date";
        step.map(Some).ok_or_else(|| self.refuse("step", "it is no step of this type", hint))
    }

    fn float(&self, option: &str) -> Result<Option<f64>> {
        let Some(text) = self.get(option) else { return Ok(None) };
        let value = text.trim().parse::<f64>().ok().filter(|v| v.is_finite() && (option != "step" || *v != 0.0));
        value.map(Some).ok_or_else(|| self.refuse(option, "it must be a number", "a number such as '1.5'"))
    }
}

impl ColumnSpec {
    /// Bytes of one value of text.
    pub(super) fn text_bytes(&self) -> usize {
        if let Rule::Text { length } = self.rule { length } else { 0 }
    }
}
