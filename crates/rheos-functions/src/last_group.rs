//! `[?&]id=([^&]*)`: a pattern that ends with its only group, of any number of characters of one kind.
//!
//! ```text
//!   /x?a=1&id=27&b=2      [?&]id=      found by the regular expression without the group
//!             27          [^&]*        the bytes behind it, up to the first of another kind
//! ```
//!
//! Such a group matches anywhere, if only nothing, so the pattern without it is found at the same places. One search finds
//! it; the places of groups take two more, of which the last goes byte by byte through a table.

use regex::Regex;
use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind};

/// See the module.
pub(crate) struct LastGroup {
    before: Regex,
    /// Of each byte, whether it belongs to a character of the kind.
    members: [bool; 256],
}

impl LastGroup {
    /// `None`: the pattern is not of this form.
    pub(crate) fn of(pattern: &str) -> Option<Self> {
        let hir = regex_syntax::parse(pattern).ok()?;
        let HirKind::Concat(parts) = hir.kind() else { return None };
        let (last, before) = parts.split_last()?;
        let before = Hir::concat(before.to_vec());
        let HirKind::Capture(group) = last.kind() else { return None };
        let HirKind::Repetition(repeated) = group.sub.kind() else { return None };
        let takes_all = repeated.min == 0 && repeated.max.is_none() && repeated.greedy;
        if !takes_all || before.properties().explicit_captures_len() > 0 {
            return None;
        }
        let HirKind::Class(Class::Unicode(class)) = repeated.sub.kind() else { return None };
        Some(Self { members: members(class)?, before: Regex::new(&before.to_string()).ok()? })
    }

    /// What the group matches; `None` without a match.
    pub(crate) fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        let rest = &text[self.before.find(text)?.end()..];
        let end = rest.bytes().position(|byte| !self.members[usize::from(byte)]);
        Some(end.map_or(rest, |end| &rest[..end]))
    }
}

/// `None`: of the characters beyond ASCII some belong to the class and some do not, so that bytes do not tell.
fn members(class: &ClassUnicode) -> Option<[bool; 256]> {
    let ranges = class.ranges();
    let all_others = ranges.iter().any(|r| r.start() <= '\u{80}' && r.end() == char::MAX);
    if !all_others && ranges.iter().any(|r| !r.end().is_ascii()) {
        return None;
    }
    let mut members = [all_others; 256];
    for byte in 0..128u8 {
        let character = char::from(byte);
        members[usize::from(byte)] = ranges.iter().any(|r| (r.start()..=r.end()).contains(&character));
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORMS: [&str; 12] = [
        "(?:&|^)a=([^&]*)",
        "b([a-c]*)",
        "(?:ab|a)([^b]*)",
        "a*?([a-z]*)",
        "a*([^a]*)",
        "(?i)A=(.*)",
        "(?s)=(.*)",
        r"\b([0-9]*)",
        r"(?m)^([^&\n]*)",
        "ü(?:a|&)?([^ü-ý]*)|never",
        "é([[:ascii:]]*)",
        "a{2,3}([^=]*)",
    ];

    #[test]
    fn only_patterns_of_this_form_are_taken() {
        let taken = |pattern| LastGroup::of(pattern).is_some();
        assert_eq!(FORMS.iter().filter(|f| taken(f)).count(), FORMS.len() - 1);
        for other in
            ["a([^&]+)", "a([^&]*?)", "a([^&]*)$", "(a)([^&]*)", "a([ä-ö]*)", r"a(\w*)", "a(b*)", "([^&]*)", "a(", "a"]
        {
            assert!(!taken(other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn it_is_the_group_of_the_regular_expression(form in 0..FORMS.len(), text in "[ab&=1\nAéü日]{0,24}") {
            if let Some(group) = LastGroup::of(FORMS[form]) {
                let captures = Regex::new(FORMS[form]).unwrap().captures(&text);
                let want = captures.as_ref().map(|c| c.get(1).unwrap().as_str());
                prop_assert_eq!(group.find(&text), want, "{}", FORMS[form]);
            }
        }
    }
}
