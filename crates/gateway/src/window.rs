//! How much an HTTP/2 caller may send before Skep has passed it on. Until then it lies in Skep's memory.
//!
//! A small window makes its caller wait for Skep at every few pieces, and on a busy machine each such wait costs
//! more than sending the piece: with 256 KiB an upload took three times as long as over HTTP/1.1, for which the
//! kernel keeps several megabytes. So windows are large where few connections are open, and get smaller with their
//! number: all together they stay within what a node can afford.

/// What the windows of all connections may come to while none of them has less than the smallest, in bytes.
const BUDGET: usize = 256 << 20;
/// A connection's window, in bytes.
const SMALLEST: usize = 1 << 20;
const LARGEST: usize = 8 << 20;
/// A stream has this part of it: one that nobody reads leaves room for the others.
const SHARE: usize = 4;

/// The windows of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Windows {
    /// Of each stream, in bytes.
    pub(crate) stream: u32,
    /// Of all its streams together, in bytes.
    pub(crate) connection: u32,
}

impl Windows {
    /// For one more connection beside so many.
    pub(crate) fn beside(open: usize) -> Self {
        let connection = (BUDGET / (open + 1)).clamp(SMALLEST, LARGEST);
        let bytes = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            stream: bytes(connection / SHARE),
            connection: bytes(connection),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_connections_have_large_windows_and_many_have_small_ones() {
        let windows = |stream, connection| Windows { stream, connection };
        assert_eq!(Windows::beside(0), windows(2 << 20, 8 << 20));
        assert_eq!(Windows::beside(31), windows(2 << 20, 8 << 20));
        assert_eq!(Windows::beside(63), windows(1 << 20, 4 << 20));
        assert_eq!(Windows::beside(10_000), windows(256 << 10, 1 << 20));
        let all: usize = (0..256)
            .map(|open| Windows::beside(open).connection as usize)
            .sum();
        assert!(all < 4 * BUDGET, "{all}");
    }
}
