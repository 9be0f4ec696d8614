//! Calls that share what they keep are its *lanes*; some of them are the bits of a number.

/// Lanes that a number has bits for.
pub(crate) const LANES_MAX: usize = u32::BITS as usize;

/// The lanes whose bits are set.
pub(crate) fn bits(mut lanes: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lane = (lanes != 0).then(|| lanes.trailing_zeros() as usize);
        lanes &= lanes.wrapping_sub(1);
        lane
    })
}
