//! Limits as the files of cgroup v2 (the kernel's cgroup-v2.rst), converted as Docker's runtime converts them.

use super::{Asked, Conversions, Setting};
use crate::cgroups::UnifiedFacts;

/// Where no other period is asked for, in microseconds.
const PERIOD: i64 = 100_000;

pub(super) fn settings(
    asked: &Asked,
    facts: &UnifiedFacts,
    conversions: Conversions,
    reasons: &mut Vec<String>,
) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut set = |controller, file, text: String| {
        settings.push(Setting::new(controller, file, text));
    };
    match swap(asked) {
        // Without accounting of swap there is none to bound, and Docker says so when the template is made.
        Some(text) if facts.has("memory.swap.max") => set("memory", "memory.swap.max", text),
        Some(text) if text != "max" && text != "0" => reasons.push(
            "the lean engine can't bound swap here: the kernel does not account for it (swapaccount=1)"
                .to_owned(),
        ),
        _ => {}
    }
    if asked.memory > 0 {
        set("memory", "memory.max", asked.memory.to_string());
    }
    if asked.reservation > 0 {
        set("memory", "memory.low", asked.reservation.to_string());
    }
    if asked.never_killed {
        reasons.push(
            "the lean engine does not give --oom-kill-disable on cgroup v2, which has no such thing"
                .to_owned(),
        );
    }
    if let Some(pids) = asked.pids.filter(|pids| *pids > 0) {
        set("pids", "pids.max", pids.to_string());
    }
    if asked.shares > 0 {
        set(
            "cpu",
            "cpu.weight",
            weight_of_shares(asked.shares, conversions).to_string(),
        );
    }
    if asked.period > 0 || asked.quota > 0 {
        let quota = if asked.quota > 0 {
            asked.quota.to_string()
        } else {
            "max".to_owned()
        };
        let period = if asked.period > 0 { asked.period } else { PERIOD };
        set("cpu", "cpu.max", format!("{quota} {period}"));
    }
    for (file, text) in [
        ("cpuset.cpus", &asked.processors),
        ("cpuset.mems", &asked.memory_nodes),
    ] {
        if !text.is_empty() {
            set("cpuset", file, text.clone());
        }
    }
    if asked.weight > 0 {
        // The scheduler that has a file of its own is asked first, as by Docker.
        if facts.has("io.bfq.weight") {
            set("io", "io.bfq.weight", asked.weight.to_string());
        } else if facts.has("io.weight") {
            set(
                "io",
                "io.weight",
                weight_of_block_weight(asked.weight).to_string(),
            );
        } else {
            reasons.push(
                "the lean engine can't give --blkio-weight here: this kernel has no io.weight".to_owned(),
            );
        }
    }
    settings
}

/// Docker counts memory and swap together, version 2 counts swap alone.
fn swap(asked: &Asked) -> Option<String> {
    match (asked.memory_and_swap, asked.memory) {
        (-1, _) => Some("max".to_owned()),
        (both, memory) if both > 0 && memory > 0 => Some((both - memory).max(0).to_string()),
        _ => None,
    }
}

/// From 2–262144, 1024 the usual, to 1–10000, 100 the usual.
fn weight_of_shares(shares: i64, conversions: Conversions) -> i64 {
    let shares = shares.clamp(2, 262_144);
    if !conversions.keeps_the_usual_weight {
        return 1 + (shares - 2) * 9_999 / 262_142;
    }
    if shares == 2 {
        return 1;
    }
    // The parabola through (2, 1), (1024, 100) and (262144, 10000), on logarithmic axes.
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    (10_f64.powf(exponent).ceil() as i64).clamp(1, 10_000)
}

/// From 10–1000 to 1–10000.
fn weight_of_block_weight(weight: i64) -> i64 {
    1 + (weight.clamp(10, 1_000) - 10) * 9_999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(asked: &Asked, files: &[&str]) -> (Vec<(&'static str, String)>, Vec<String>) {
        let facts = UnifiedFacts::with_files(files);
        let mut reasons = Vec::new();
        let settings = settings(asked, &facts, Conversions::of("runc", "1.1.15+ds1"), &mut reasons);
        let settings = settings
            .into_iter()
            .map(|setting| (setting.file, setting.text))
            .collect();
        (settings, reasons)
    }

    #[test]
    fn memory_and_swap_together_become_swap_alone() {
        let cases = [
            (64, 128, Some("64")),
            (64, 64, Some("0")),
            (64, -1, Some("max")),
            (64, 0, None),
            (0, 0, None),
        ];
        for (memory, memory_and_swap, expected) in cases {
            let asked = Asked {
                memory,
                memory_and_swap,
                ..Asked::default()
            };
            let (settings, _) = written(&asked, &["memory.swap.max"]);
            let swap = settings.iter().find(|(file, _)| *file == "memory.swap.max");
            assert_eq!(
                swap.map(|(_, text)| text.as_str()),
                expected,
                "{memory} {memory_and_swap}"
            );
        }
    }

    #[test]
    fn without_accounting_of_swap_only_a_real_bound_is_refused() {
        let bound = |memory_and_swap| Asked {
            memory: 64,
            memory_and_swap,
            ..Asked::default()
        };
        for harmless in [64, -1, 0] {
            assert!(written(&bound(harmless), &[]).1.is_empty(), "{harmless}");
        }
        assert!(written(&bound(100), &[]).1[0].contains("swapaccount"));
    }

    #[test]
    fn processor_time_is_one_line() {
        let time = |quota, period| Asked {
            quota,
            period,
            ..Asked::default()
        };
        for (asked, expected) in [
            (time(50_000, 0), "50000 100000"),
            (time(20_000, 10_000), "20000 10000"),
            (time(0, 50_000), "max 50000"),
        ] {
            assert_eq!(written(&asked, &[]).0, [("cpu.max", expected.to_owned())]);
        }
    }

    #[test]
    fn shares_become_the_weight_that_the_engines_own_runtime_would_write() {
        let older = Conversions::of("runc", "1.1.15+ds1");
        let newer = Conversions::of("runc", "1.3.2");
        for (shares, before, after) in [
            (2, 1, 1),
            (1024, 39, 100),
            (2000, 77, 170),
            (262_144, 10_000, 10_000),
        ] {
            assert_eq!(weight_of_shares(shares, older), before, "{shares}");
            assert_eq!(weight_of_shares(shares, newer), after, "{shares}");
        }
    }

    #[test]
    fn a_weight_for_disks_needs_a_kernel_that_has_one() {
        let asked = Asked {
            weight: 500,
            ..Asked::default()
        };
        assert_eq!(
            written(&asked, &["io.weight"]).0,
            [("io.weight", "4950".to_owned())]
        );
        assert_eq!(
            written(&asked, &["io.weight", "io.bfq.weight"]).0,
            [("io.bfq.weight", "500".to_owned())]
        );
        assert!(written(&asked, &[]).1[0].contains("io.weight"));
    }
}
