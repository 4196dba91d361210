//! A steady load reaches a steady state: what there was at its beginning is there at its end, and no more.

use std::time::{Duration, Instant};

use futures::future::join_all;
use http::StatusCode;
use skep_tests::{Skep, eventually, probe_image};

/// How long the load lasts, in seconds; `make churn` says ten minutes.
const SECONDS: &str = "SKEP_CHURN_SECONDS";
/// Callers at once.
const CALLERS: usize = 4;
/// Into how many parts the load is divided, to see whether the last is as fast as the first.
const PARTS: usize = 10;

/// What a Skep holds of the kernel's.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    cgroups: usize,
    mounts: usize,
    namespaces: usize,
    processes: usize,
    /// Processes that have ended and that nobody has asked for.
    zombies: usize,
    /// Of Skep and its spawner.
    descriptors: usize,
}

/// A process and all its children and theirs, by what `/proc` says.
fn family(process: i32) -> Vec<i32> {
    let mut family = vec![process];
    let mut next = 0;
    while let Some(&process) = family.get(next) {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task"))
            .into_iter()
            .flatten();
        for task in tasks.flatten() {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            family.extend(
                children
                    .split_whitespace()
                    .filter_map(|child| child.parse::<i32>().ok()),
            );
        }
        next += 1;
    }
    family
}

fn held(skep: &Skep) -> Held {
    let family = family(skep.pid().as_raw_nonzero().get());
    let descriptors = |process: &i32| {
        let folder = std::fs::read_dir(format!("/proc/{process}/fd"));
        folder.map_or(0, Iterator::count)
    };
    let namespaces = |process: &i32| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let networks: std::collections::BTreeSet<_> = family.iter().filter_map(namespaces).collect();
    let zombie = |process: &&i32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z"))
    };
    let data = skep.data().display().to_string();
    let mounts = family.iter().map(|process| {
        let all = std::fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap_or_default();
        all.lines().filter(|line| line.contains(&data)).count()
    });
    Held {
        cgroups: skep.made().len(),
        mounts: mounts.sum(),
        namespaces: networks.len(),
        processes: family.len(),
        zombies: family.iter().filter(zombie).count(),
        descriptors: family.iter().map(descriptors).sum(),
    }
}

/// Asks without a pause until the time is over; gives each answer's time, in the order of the asking.
async fn caller(skep: &Skep, path: &str, end: Instant) -> Vec<Duration> {
    let mut times = Vec::new();
    while Instant::now() < end {
        let begin = Instant::now();
        let answer = skep.public.get(path).await;
        if answer.status != StatusCode::OK {
            let record = skep.record_of(&answer).await;
            panic!("{path}: {answer:?}\n{record:#}");
        }
        times.push(begin.elapsed());
    }
    times
}

fn percentile(mut times: Vec<Duration>, part: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len() * part / 100).copied().unwrap_or_default()
}

#[tokio::test]
async fn a_steady_load_ends_with_what_it_began_with() {
    let seconds = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok());
    let seconds: u64 = seconds.unwrap_or(10);
    let skep = Skep::start("lean-churn").await;
    // Skep, its spawner, and with systemd the process that holds the scope of its cgroups.
    let alone = held(&skep).processes;
    let probe = probe_image();
    let none = ["--network", "none"];
    skep.deploy(
        "e",
        &["handler=exec", "engine=lean"],
        &none,
        &[&probe, "echo", "hello"],
    )
    .await;
    skep.deploy("h", &["engine=lean"], &[], &[&probe, "http"]).await;
    let paths = ["/e", "/h"];
    for path in paths {
        // One alone: where the machine is slow, several that all wait for a first sandbox wait too long.
        eventually("a first answer", async || {
            (skep.public.get(path).await.status == StatusCode::OK).then_some(())
        })
        .await;
    }
    // The first requests make what is kept: sandboxes, the database's files, the runtime's own descriptors.
    let warm = Instant::now() + Duration::from_secs(3);
    join_all((0..CALLERS).map(|index| caller(&skep, paths[index % 2], warm))).await;
    let quiet = async || {
        eventually("the last instance to go", async || {
            let held = held(&skep);
            (held.cgroups == 0 && held.processes == alone).then_some(held)
        })
        .await
    };
    let before = quiet().await;
    println!("before: {before:?}");
    let part = Duration::from_millis(seconds * 1_000 / PARTS as u64);
    let mut parts = Vec::new();
    for _ in 0..PARTS {
        let end = Instant::now() + part;
        let times = join_all((0..CALLERS).map(|index| caller(&skep, paths[index % 2], end))).await;
        let times: Vec<Duration> = times.into_iter().flatten().collect();
        println!(
            "{:6} answers, p50 {:?}, p99 {:?}",
            times.len(),
            percentile(times.clone(), 50),
            percentile(times.clone(), 99)
        );
        parts.push(times);
    }
    let after = quiet().await;
    println!("after:  {after:?}");
    let slack = 4;
    assert!(
        after.descriptors <= before.descriptors + slack,
        "{before:?} became {after:?}"
    );
    assert_eq!(
        (after.cgroups, after.mounts, after.namespaces),
        (before.cgroups, before.mounts, before.namespaces)
    );
    assert_eq!(
        (after.processes, after.zombies),
        (before.processes, before.zombies)
    );
    // The machine is others' too: what grows with every instance would be many times slower by the end.
    let (first, last) = (
        percentile(parts.swap_remove(0), 50),
        percentile(parts.pop().unwrap_or_default(), 50),
    );
    assert!(
        last < first * 4 + Duration::from_millis(20),
        "p50 went from {first:?} to {last:?}"
    );
    skep.finish().await;
}
