//! Which runs of a table are merged: numbers in, a range out.

use std::ops::Range;

use super::Policy;

/// A run, or several whose epochs are entangled, which happens when workers inherit from each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tier {
    pub(super) bytes: u64,
    /// Runs on top of each other.
    pub(super) depth: usize,
    /// Runs of different layouts are not merged; `None`: mixed already, or stuck.
    pub(super) layout: Option<String>,
}

/// The runs to merge into one; `tiers` from the oldest to the newest.
///
/// Searched from the newest: a run joins newer ones if it is not larger than they are together. If no such stretch is long
/// enough and there are too many runs, the cheapest stretch that is long enough. `shrinks`: a merge puts rows together; then the
/// oldest run, which is what the last merge of all left, waits until the others are [`Policy::merge_all_growth`] times as large,
/// and then all are merged.
pub(super) fn choose(tiers: &[Tier], policy: &Policy, shrinks: bool) -> Option<Range<usize>> {
    if shrinks && all_are_due(tiers, policy) {
        return Some(0..tiers.len());
    }
    let (first, enough) = if shrinks { (1, policy.merge_some_min) } else { (0, policy.merge_min) };
    let alike = (first + 1..=tiers.len()).rev().map(|end| alike_before(tiers, first..end, policy));
    let long = |range: &Range<usize>| depth(&tiers[range.clone()]) >= enough.max(2);
    alike.into_iter().find(long).or_else(|| cheapest(tiers, policy))
}

fn all_are_due(tiers: &[Tier], policy: &Policy) -> bool {
    let Some((oldest, newer)) = tiers.split_first() else { return false };
    let newer_bytes = newer.iter().map(|t| t.bytes).sum::<u64>().max(policy.run_bytes_min);
    oldest.layout.is_some()
        && newer.iter().all(|t| t.layout == oldest.layout)
        && depth(tiers) >= policy.merge_all_min.max(2)
        && oldest.bytes.saturating_mul(policy.merge_all_growth) <= newer_bytes
}

/// The longest stretch of like runs at the end of `within`.
fn alike_before(tiers: &[Tier], within: Range<usize>, policy: &Policy) -> Range<usize> {
    let (mut start, end, mut bytes) = (within.end, within.end, 0_u64);
    while start > within.start {
        let tier = &tiers[start - 1];
        let joins =
            start == end || (tier.layout == tiers[end - 1].layout && tier.bytes <= bytes.max(policy.run_bytes_min));
        if tier.layout.is_none() || !joins {
            break;
        }
        bytes = bytes.saturating_add(tier.bytes);
        start -= 1;
    }
    start..end
}

fn cheapest(tiers: &[Tier], policy: &Policy) -> Option<Range<usize>> {
    let surplus = depth(tiers).checked_sub(policy.runs_max).filter(|s| *s > 0)?;
    let all = (0..tiers.len()).flat_map(|start| (start + 1..=tiers.len()).map(move |end| start..end));
    let stretch = |r: &Range<usize>| &tiers[r.clone()];
    let fits = |r: &Range<usize>| {
        let layout = &stretch(r)[0].layout;
        layout.is_some() && stretch(r).iter().all(|t| t.layout == *layout)
    };
    let mergeable: Vec<Range<usize>> = all.filter(|r| depth(stretch(r)) >= 2 && fits(r)).collect();
    let saved = |r: &Range<usize>| depth(stretch(r)) - 1;
    let bytes = |r: &Range<usize>| stretch(r).iter().map(|t| t.bytes).sum::<u64>();
    let enough = mergeable.iter().filter(|r| saved(r) >= surplus).min_by_key(|r| bytes(r));
    // Where layouts lie between the runs, as much as can be.
    enough.or_else(|| mergeable.iter().max_by_key(|r| saved(r))).cloned()
}

pub(super) fn depth(tiers: &[Tier]) -> usize {
    tiers.iter().map(|t| t.depth).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        runs_max: 10,
        merge_min: 4,
        merge_some_min: 4,
        merge_all_min: 3,
        merge_all_growth: 1,
        run_bytes_min: 64 << 10,
        dead_bytes_free: 0,
        step_bytes: 64 << 20,
    };

    fn tiers(sizes: &[u64]) -> Vec<Tier> {
        sizes.iter().map(|s| Tier { bytes: *s << 20, depth: 1, layout: Some("a/v1".into()) }).collect()
    }

    #[test]
    fn like_runs_are_merged_and_larger_ones_are_left() {
        for (sizes, expected) in [
            (&[][..], None),
            (&[1, 1, 1], None),
            (&[1, 1, 1, 1], Some(0..4)),
            (&[100, 1, 1, 1, 1], Some(1..5)),
            // The newest one is small and waits.
            (&[100, 9, 9, 9, 9, 1], Some(1..5)),
            // 4 joins 2 + 1 + 1.
            (&[64, 4, 2, 1, 1], Some(1..5)),
            (&[64, 16, 4, 1], None),
        ] {
            assert_eq!(choose(&tiers(sizes), &POLICY, false), expected, "{sizes:?}");
        }
    }

    #[test]
    fn what_shrinks_is_merged_whole_when_as_much_has_come_as_there_was() {
        for (sizes, expected) in [
            (&[2, 1, 1][..], Some(0..3)),
            (&[3, 1, 1], None),
            (&[2, 2], None),
            // Three are not four, where they are not all.
            (&[9, 1, 1, 1], None),
            (&[9, 1, 1, 1, 1], Some(1..5)),
        ] {
            assert_eq!(choose(&tiers(sizes), &POLICY, true), expected, "{sizes:?}");
        }
    }

    #[test]
    fn too_many_runs_are_merged_where_it_is_cheapest() {
        let sizes: Vec<u64> = (0..11).rev().map(|n| 3_u64.pow(n)).collect();
        // Eleven runs, each three times the next: the last two are the cheapest pair.
        assert_eq!(choose(&tiers(&sizes), &POLICY, true), Some(9..11));
        assert_eq!(choose(&tiers(&sizes[1..]), &POLICY, true), None);
    }

    #[test]
    fn runs_of_other_layouts_are_not_merged() {
        let mut mixed = tiers(&[1; 6]);
        mixed[2].layout = Some("a/v2".into());
        assert_eq!(choose(&mixed, &POLICY, true), None);
        mixed[2].layout = None;
        assert_eq!(choose(&mixed, &POLICY, true), None);
        mixed.truncate(2);
        mixed[1].depth = 3;
        assert_eq!(choose(&mixed, &POLICY, false), Some(0..2));
    }

    /// Carries out all merges that are due. Gives the bytes that they read and write; `merged`: the size of a result.
    fn settle(runs: &mut Vec<Tier>, policy: &Policy, shrinks: bool, merged: impl Fn(u64) -> u64) -> (u64, u64) {
        let (mut read, mut written) = (0, 0);
        while let Some(range) = choose(runs, policy, shrinks) {
            let bytes: u64 = runs[range.clone()].iter().map(|t| t.bytes).sum();
            read += bytes;
            written += merged(bytes);
            let merged = Tier { bytes: merged(bytes), ..runs[range.start].clone() };
            runs.splice(range, [merged]);
        }
        assert!(runs.len() <= policy.runs_max, "{} runs", runs.len());
        (read, written)
    }

    #[test]
    fn every_row_is_written_a_few_times() {
        // Every epoch adds a run; each merge is carried out. The sizes come from a fixed sequence.
        // About 40 GB in runs of 8 MB on average: log4(5000) is 6.1, log12(5000) is 3.4, and merges are not always of equals.
        for (policy, times) in [(POLICY, 14), (Policy::default(), 6)] {
            let (mut runs, mut state, mut written, mut added) = (tiers(&[]), 1_u64, 0, 0);
            for _ in 0..5000 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let size = 1 + (state >> 60);
                runs.extend(tiers(&[size]));
                added += size << 20;
                written += settle(&mut runs, &policy, false, |bytes| bytes).1;
            }
            assert!(written < times * added, "every row was written {} times", written / added);
        }
    }

    /// 1000 MB that live, of which each epoch replaces `changed` MB, those that have not changed for longest. For each byte that
    /// comes, in hundredths: those that merges read and write; and what is stored at most, in MB.
    fn replace(changed: u64) -> (u64, u64, u64) {
        let (mut runs, mut read, mut written, mut stored_max) = (tiers(&[1000]), 0, 0, 0);
        for _ in 0..1000 {
            runs.extend(tiers(&[changed]));
            let (r, w) = settle(&mut runs, &Policy::default(), true, |bytes| bytes.min(1000 << 20));
            (read, written) = (read + r, written + w);
            stored_max = stored_max.max(runs.iter().map(|t| t.bytes).sum());
        }
        let added = 1000 * (changed << 20);
        (read * 100 / added, written * 100 / added, stored_max >> 20)
    }

    #[test]
    fn a_table_whose_rows_are_replaced_is_rewritten_more_slowly_than_it_changes() {
        // A tenth: 20 runs, and then all of them with what there was.
        assert_eq!(replace(100), (150, 50, 2900));
        for changed in [500, 300, 50, 20, 10, 5, 1] {
            let (read, written, stored_max) = replace(changed);
            assert!(read <= 350 && written <= 320 && stored_max < 3000, "{changed}: {read} {written} {stored_max}");
        }
    }
}
