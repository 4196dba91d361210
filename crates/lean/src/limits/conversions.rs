//! What Docker's runtime makes of the same words, which changed from release to release.

/// How the engine's own runtime reads a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conversions {
    /// Whether 1024 CPU shares, the usual ones of version 1, become the usual weight of version 2, 100; else 39.
    /// (runc 1.3.2 and 1.4, crun 1.23)
    pub(crate) keeps_the_usual_weight: bool,
    /// Whether `/dev/net/tun` may be used unasked. (Not so from runc 1.2.0 to 1.2.3.)
    pub(crate) allows_tun: bool,
    /// Whether a file system in memory over a folder has that folder's mode, whatever was asked for. (runc before 1.1.8)
    pub(crate) keeps_folders_modes: bool,
}

impl Conversions {
    /// Of a runtime by its name and version (`1.1.15+ds1`). An unknown one is taken for the newest.
    pub(crate) fn of(runtime: &str, version: &str) -> Self {
        let numbers = numbers(version);
        let crun = runtime.contains("crun");
        let changed = if crun { [1, 23, 0] } else { [1, 3, 2] };
        let without_tun = !crun && numbers.is_some_and(|version| ([1, 2, 0]..[1, 2, 4]).contains(&version));
        Self {
            keeps_the_usual_weight: numbers.is_none_or(|version| version >= changed),
            allows_tun: !without_tun,
            keeps_folders_modes: !crun && numbers.is_some_and(|version| version < [1, 1, 8]),
        }
    }
}

/// The three numbers at the front of a version.
fn numbers(version: &str) -> Option<[u32; 3]> {
    let mut parts = version
        .trim_start_matches('v')
        .split(|letter: char| !letter.is_ascii_digit());
    let mut next = || parts.next()?.parse().ok();
    Some([next()?, next()?, next().unwrap_or_default()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_came_with_a_release() {
        let of = |runtime, version| {
            let found = Conversions::of(runtime, version);
            (
                found.keeps_the_usual_weight,
                found.allows_tun,
                found.keeps_folders_modes,
            )
        };
        assert_eq!(of("runc", "1.1.5+ds1"), (false, true, true));
        assert_eq!(of("runc", "1.2.3"), (false, false, false));
        assert_eq!(of("runc", "1.2.4"), (false, true, false));
        assert_eq!(of("runc", "1.3.2"), (true, true, false));
        assert_eq!(of("crun", "1.21"), (false, true, false));
        assert_eq!(of("runc", "unknown"), (true, true, false));
    }
}
