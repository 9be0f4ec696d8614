//! Cuts the rows of a batch into stretches: rows of one key that are one session whatever else there is.

/// Rows of one key whose windows overlap or touch each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The key's number in the batch.
    pub(crate) key: usize,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
}

/// A batch in stretches.
pub(crate) struct Cut {
    /// By key, then time; no two of one key overlap or touch.
    pub(crate) stretches: Vec<Stretch>,
    /// The stretch of each row.
    pub(crate) of_row: Vec<u32>,
}

/// `key_of` gives the key of each row, below `keys`; `window` the start and the end of its window in ms.
pub(crate) fn cut(key_of: &[usize], keys: usize, window: impl Fn(usize) -> (i64, i64)) -> Cut {
    let mut stretches: Vec<Stretch> = vec![];
    let mut of_row = vec![0; key_of.len()];
    for row in order(key_of, keys, |row| window(row).0) {
        let (key, (start_ms, end_ms)) = (key_of[row as usize], window(row as usize));
        match stretches.last_mut() {
            Some(last) if last.key == key && start_ms <= last.end_ms => last.end_ms = last.end_ms.max(end_ms),
            _ => stretches.push(Stretch { key, start_ms, end_ms }),
        }
        of_row[row as usize] = stretches.len() as u32 - 1;
    }
    Cut { stretches, of_row }
}

/// The rows by key, then time. Rows mostly come in order of time, so only some keys need sorting.
fn order(key_of: &[usize], keys: usize, time: impl Fn(usize) -> i64) -> Vec<u32> {
    let mut ends = vec![0usize; keys + 1];
    for key in key_of {
        ends[key + 1] += 1;
    }
    for key in 0..keys {
        ends[key + 1] += ends[key];
    }
    // From here on `ends[key]` is where the next row of the key goes, and in the end where its rows end.
    let mut order = vec![0; key_of.len()];
    for (row, key) in key_of.iter().enumerate() {
        order[ends[*key]] = row as u32;
        ends[*key] += 1;
    }
    let mut start = 0;
    for end in &ends[..keys] {
        let rows = &mut order[start..*end];
        if !rows.is_sorted_by_key(|row| time(*row as usize)) {
            rows.sort_unstable_by_key(|row| (time(*row as usize), *row));
        }
        start = *end;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_touch_no_other_and_rows_know_theirs() {
        let keys = [0, 1, 0, 0, 1, 0];
        let times = [30i64, 5, 0, 10, 4, 41];
        let cut = cut(&keys, 2, |row| (times[row], times[row] + 10));
        let stretch = |key, start_ms, end_ms| Stretch { key, start_ms, end_ms };
        assert_eq!(cut.stretches, [stretch(0, 0, 20), stretch(0, 30, 40), stretch(0, 41, 51), stretch(1, 4, 15)]);
        assert_eq!(cut.of_row, [1, 3, 0, 0, 3, 2]);
    }
}
