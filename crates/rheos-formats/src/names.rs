//! How columns of a table meet those of a file.

use std::collections::HashSet;

use rheos_core::error::did_you_mean;

use crate::bad::excerpt;

/// The place of `name`: the exact one, else the only one that differs in case.
pub(crate) fn find_column(name: &str, names: &[String]) -> Option<usize> {
    if let Some(exact) = names.iter().position(|n| n == name) {
        return Some(exact);
    }
    let mut alike = names.iter().enumerate().filter(|(_, n)| n.eq_ignore_ascii_case(name));
    match (alike.next(), alike.next()) {
        (Some((n, _)), None) => Some(n),
        _ => None,
    }
}

/// Names in a message: the first of them, each cut.
pub(crate) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|n| excerpt(n.as_bytes())).collect();
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    shown.join(", ") + &more
}

/// The hint for a column that an input lacks: the nearest name, and those that there are behind `introduction`.
pub(crate) fn missing_column(name: &str, names: &[String], introduction: &str) -> String {
    // What is much longer is not near, and comparing it would take long.
    let candidates = names.iter().filter(|n| !n.is_empty() && n.len() <= 4 * name.len().max(16));
    let near = did_you_mean(name, candidates.map(String::as_str), "");
    format!("{near} {introduction}: {}", listed(names)).trim_start().to_string()
}

/// The names with `_1`, `_2`, ... behind those that occur again.
pub fn unique_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let names: Vec<&str> = names.into_iter().collect();
    let mut taken: HashSet<String> = HashSet::new();
    let given: HashSet<&str> = names.iter().copied().collect();
    let mut out = Vec::with_capacity(names.len());
    for name in names {
        let mut unique = name.to_string();
        let mut n = 0;
        while taken.contains(&unique) || n > 0 && given.contains(unique.as_str()) {
            n += 1;
            unique = format!("{name}_{n}");
        }
        taken.insert(unique.clone());
        out.push(unique);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_exactly_else_without_case_where_only_one_fits() {
        let names = ["a", "A", "Bid"].map(String::from);
        assert_eq!(find_column("A", &names), Some(1));
        assert_eq!(find_column("bid", &names), Some(2));
        assert_eq!(find_column("c", &names), None);
        assert_eq!(find_column("x", &["X".to_string(), "x ".to_string()]), Some(0));
    }

    #[test]
    fn a_hint_is_short_however_long_the_header_is() {
        let names: Vec<String> = (0..100_000).map(|n| format!("name{n}")).collect();
        let hint = missing_column("nam", &names, "the header names");
        assert!(hint.ends_with("name18, name19 and 99980 more"), "{hint}");
        let hint = missing_column("a", &["x".repeat(10_000_000), String::new()], "the header names");
        assert!(hint.starts_with("the header names: xxx") && hint.chars().count() < 120, "{hint}");
    }

    #[test]
    fn a_second_column_of_a_name_gets_a_number() {
        assert_eq!(unique_names(["a", "a", "b", "a", "a_1"]), ["a", "a_2", "b", "a_3", "a_1"]);
        assert_eq!(unique_names(["x", "x"]), ["x", "x_1"]);
    }
}
