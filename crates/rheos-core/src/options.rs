//! Options of connectors: one definition gives the parser, the check, the help text and the docs.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result, did_you_mean};
use crate::units::{parse_duration_ms, parse_rate_per_s, parse_size_bytes};

/// The type of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionType {
    /// Any text.
    Text,
    /// `true` or `false`.
    Bool,
    /// A whole number from `min` to `max`.
    Integer {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// A duration, in ms.
    Duration,
    /// A size, in bytes.
    Size,
    /// Records per second.
    Rate,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

impl OptionType {
    /// How the type is shown to people.
    pub fn display(self) -> String {
        match self {
            OptionType::Text => "text".into(),
            OptionType::Bool => "true | false".into(),
            OptionType::Integer { .. } => "number".into(),
            OptionType::Duration => "duration".into(),
            OptionType::Size => "size".into(),
            OptionType::Rate => "rate".into(),
            OptionType::OneOf(words) => words.join(" | "),
        }
    }
}

/// Options of Flink that have another name and other values here: the option's name, ours, and what to write.
const FLINKS: &[(&str, &str, &str)] = &[
    ("json.ignore-parse-errors", "on-error", "'on-error' = 'skip' leaves out records that cannot be read"),
    ("csv.ignore-parse-errors", "on-error", "'on-error' = 'skip' leaves out records that cannot be read"),
];

/// One option: its name, type, default and what it does.
#[derive(Debug, Clone, Copy)]
pub struct OptionDef {
    /// The name in `WITH (...)`; `*` stands for a column's name.
    pub name: &'static str,
    /// Other names that are accepted.
    pub aliases: &'static [&'static str],
    /// The type.
    pub kind: OptionType,
    /// What holds without it; empty: nothing.
    pub default: &'static str,
    /// Whether it must be given.
    pub required: bool,
    /// One sentence for the docs.
    pub help: &'static str,
}

impl OptionDef {
    /// An optional option.
    pub const fn new(name: &'static str, kind: OptionType, default: &'static str, help: &'static str) -> Self {
        Self { name, aliases: &[], kind, default, required: false, help }
    }

    /// It must be given.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Other names for it.
    #[must_use]
    pub const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Whether `name` names this option; `fields.*.kind` matches `fields.price.kind`.
    fn matches(&self, name: &str) -> bool {
        if self.name == name || self.aliases.contains(&name) {
            return true;
        }
        match self.name.split_once('*') {
            Some((before, after)) => {
                name.len() > before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
            }
            None => false,
        }
    }

    fn check(&self, name: &str, value: &str) -> Result<()> {
        let refuse = |what: String| Error::invalid(113, format!("option '{name}' is '{value}', but {what}"));
        match self.kind {
            OptionType::Text => Ok(()),
            OptionType::Bool => match value {
                "true" | "false" => Ok(()),
                _ => Err(refuse("it must be 'true' or 'false'".into()).with_hint("write 'true' or 'false'")),
            },
            OptionType::Integer { min, max } => match value.parse::<i64>() {
                Ok(n) if (min..=max).contains(&n) => Ok(()),
                _ => Err(refuse(format!("it must be a whole number from {min} to {max}"))
                    .with_hint(format!("a number from {min} to {max}"))),
            },
            OptionType::Duration => {
                parse_duration_ms(value).map(drop).map_err(|e| e.context(format!("option '{name}'")))
            }
            OptionType::Size => parse_size_bytes(value).map(drop).map_err(|e| e.context(format!("option '{name}'"))),
            OptionType::Rate => parse_rate_per_s(value).map(drop).map_err(|e| e.context(format!("option '{name}'"))),
            OptionType::OneOf(words) if words.contains(&value) => Ok(()),
            OptionType::OneOf(words) => Err(refuse(format!("it must be one of {}", words.join(", ")))
                .with_hint(did_you_mean(value, words.iter().copied(), &format!("use one of {}", words.join(", "))))),
        }
    }
}

/// Checked options. The getters panic on a name without a definition: that is a defect of the connector.
#[derive(Debug, Clone, Default)]
pub struct Options {
    values: BTreeMap<String, String>,
}

impl Options {
    /// Checks `given` against the definitions and fills in the defaults.
    ///
    /// Errors: `Invalid` for an unknown name (with the nearest one), a wrong value, or a missing required option.
    pub fn try_new(owner: &str, given: &BTreeMap<String, String>, defs: &[&[OptionDef]]) -> Result<Self> {
        let all = || defs.iter().flat_map(|d| d.iter());
        let mut values = BTreeMap::new();
        for (name, value) in given {
            let Some(def) = all().find(|d| d.matches(name)) else {
                if let Some((_, _, hint)) = FLINKS.iter().find(|(n, own, _)| n == name && all().any(|d| d.name == *own))
                {
                    return Err(Error::invalid(114, format!("{owner} has no option '{name}'")).with_hint(*hint));
                }
                let names: BTreeSet<&str> = all().map(|d| d.name).collect();
                let list = names.iter().copied().collect::<Vec<_>>().join(", ");
                return Err(Error::invalid(114, format!("{owner} has no option '{name}'")).with_hint(did_you_mean(
                    name,
                    names,
                    &format!("the options are: {list}"),
                )));
            };
            def.check(name, value)?;
            let key = if def.name.contains('*') { name.clone() } else { def.name.to_string() };
            values.insert(key, value.clone());
        }
        for def in all().filter(|d| !d.name.contains('*')) {
            if values.contains_key(def.name) {
                continue;
            }
            if def.required {
                return Err(Error::invalid(115, format!("{owner} needs the option '{}'", def.name))
                    .with_hint(format!("add '{}' = '...' to WITH: {}", def.name, def.help)));
            }
            if !def.default.is_empty() {
                values.insert(def.name.to_string(), def.default.to_string());
            }
        }
        Ok(Self { values })
    }

    /// The value, if it is given or has a default.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// A text that must be there (required, or with a default).
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_else(|| panic!("option '{name}' has neither value nor default"))
    }

    /// A boolean.
    pub fn bool(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// A number.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.get(name).map(|v| v.parse().expect("checked by try_new"))
    }

    /// A duration in ms.
    pub fn duration_ms(&self, name: &str) -> Option<i64> {
        self.get(name).map(|v| parse_duration_ms(v).expect("checked by try_new"))
    }

    /// A size in bytes.
    pub fn size_bytes(&self, name: &str) -> Option<u64> {
        self.get(name).map(|v| parse_size_bytes(v).expect("checked by try_new"))
    }

    /// A rate per second.
    pub fn rate_per_s(&self, name: &str) -> Option<f64> {
        self.get(name).map(|v| parse_rate_per_s(v).expect("checked by try_new"))
    }

    /// All values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}
