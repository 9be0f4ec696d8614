//! How columns of a table meet those of a file.

use std::collections::HashSet;

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
    fn a_second_column_of_a_name_gets_a_number() {
        assert_eq!(unique_names(["a", "a", "b", "a", "a_1"]), ["a", "a_2", "b", "a_3", "a_1"]);
        assert_eq!(unique_names(["x", "x"]), ["x", "x_1"]);
    }
}
