//! Sizes between Rust's `usize`, libtorch's `i64` and the counters' `u64`.

/// A tensor size; lengths beyond 2^63 do not exist.
pub(super) fn to_i64(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// A tensor's size as a count; libtorch never reports a negative one.
pub(super) fn to_usize(len: i64) -> usize {
    usize::try_from(len).unwrap_or(0)
}

/// A count as libtorch's or Rust's size.
pub(super) fn to_u64(len: usize) -> u64 {
    len as u64
}

/// `0 + 1 + ... + n`: the (query, key) pairs of causal attention over `n` tokens.
pub(super) fn triangle(n: usize) -> u64 {
    let n = to_u64(n);
    n * (n + 1) / 2
}

/// Places that a tensor holds, on the host.
pub(super) fn to_host(places: &tch::Tensor) -> Vec<usize> {
    let places = places.to_device(tch::Device::Cpu).to_kind(tch::Kind::Int64);
    let places = Vec::<i64>::try_from(places.flatten(0, -1));
    let places = places.unwrap_or_else(|_| unreachable!("integers in a row"));
    places.into_iter().map(to_usize).collect()
}
