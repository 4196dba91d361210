//! Feeds the parsers of requests with bytes that grow out of what real clients send, for as long as it is told:
//! `make fuzz SECONDS=600`. What is let through is judged by a list that was written down apart from the parsers.
//!
//! It keeps what led to something new: another set of fields that went through, or another sentence of a refusal. That
//! stands in for the compiler's coverage, which needs a nightly toolchain. `SKEP_FUZZ_SEED` repeats a run.

mod mutate;
#[path = "../support/mod.rs"]
mod support;

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime};

use mutate::Mutator;
use skep_grant::{Filters, Json};
use support::{Body, judge, paths, written};

/// What the mutations start from.
const CORPUS: &[&str] = &[
    include_str!("../corpus/create-docker-28.json"),
    include_str!("../corpus/create-docker-py.json"),
    include_str!("../corpus/create-dockerode.json"),
    include_str!("../corpus/create-full.json"),
    include_str!("../corpus/create-hostile.json"),
    include_str!("../corpus/exec-docker-py.json"),
    include_str!("../corpus/exec-start.json"),
    include_str!("../corpus/connect.json"),
    "",
    "null",
];
/// First lines of requests.
const TARGETS: &[&str] = &[
    "GET /v1.41/containers/web/json?size=1",
    "POST /containers/create?name=web&platform=linux%2Famd64",
    "GET /containers/json?all=1&filters=%7B%22label%22%3A%5B%22a%22%5D%7D",
    "POST /v1.24/containers/0123abcd/exec",
    "POST /exec/0123/start",
    "GET /images/library/debian:bookworm-slim/json",
    "POST /networks/backend/connect",
    "PUT /containers/web/archive?path=%2Ftmp&noOverwriteDirNonDir=1",
    "POST /v1.41/../containers/create",
    "POST /containers/a%2f..%2fb/update",
];
/// The most inputs that are kept.
const KEPT: usize = 4000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_byte_sequence_makes_an_unlisted_field_reach_the_daemon() {
    let clock = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(1, |time| time.as_nanos() as u64);
    let seed = number("SKEP_FUZZ_SEED").unwrap_or(clock);
    let end = Instant::now() + Duration::from_secs(number("SKEP_FUZZ_SECONDS").unwrap_or(2));
    let mut mutator = Mutator::new(seed);
    let mut bodies: Vec<Vec<u8>> = CORPUS.iter().map(|text| text.as_bytes().to_vec()).collect();
    // Half of the next ones grow out of what went through: that is where a field more would matter.
    let mut passed = bodies.clone();
    let mut targets: Vec<Vec<u8>> = TARGETS.iter().map(|text| text.as_bytes().to_vec()).collect();
    let mut seen = HashSet::new();
    let (mut tried, mut through) = (0u64, 0u64);
    for body in bodies.clone() {
        look(&body, seed, &mut seen, &mut through);
    }
    assert!(through >= 8, "what clients send goes through");
    while Instant::now() < end {
        for _ in 0..256 {
            let body = mutator.next(if tried % 4 == 0 { &passed } else { &bodies });
            let before = through;
            if look(&body, seed, &mut seen, &mut through) && bodies.len() < KEPT {
                if through > before {
                    passed.push(body.clone());
                }
                bodies.push(body);
            }
            let target = mutator.next(&targets);
            if aim(&target, seed, &mut seen) && targets.len() < KEPT {
                targets.push(target);
            }
            tried += 2;
        }
    }
    println!(
        "seed {seed}: {tried} inputs, {through} bodies let through, {} kept, {} outcomes",
        bodies.len() + targets.len(),
        seen.len()
    );
}

/// Tries a body as every kind of body; whether it led to something new.
fn look(bytes: &[u8], seed: u64, seen: &mut HashSet<String>, through: &mut u64) -> bool {
    let mut is_new = false;
    for kind in support::ALL {
        let outcome = match written(kind, bytes) {
            Some(value) => {
                *through += 1;
                if let Err(what) = judge(kind, &value) {
                    panic!(
                        "seed {seed}: {kind:?} {:?}: {what}",
                        String::from_utf8_lossy(bytes)
                    );
                }
                format!("{kind:?} {:?}", paths(kind, &value))
            }
            None => refusal(kind, bytes),
        };
        is_new |= seen.insert(outcome);
    }
    is_new
}

/// The beginning of a refusal's sentence, which says where the parser stopped.
fn refusal(kind: Body, bytes: &[u8]) -> String {
    let said = match Json::parse(bytes) {
        Err(refusal) => refusal,
        Ok(json) if kind == Body::Create => match skep_grant::Create::parse(json, &support::grant()) {
            Err(refusal) => refusal,
            Ok(_) => return String::new(),
        },
        Ok(_) => return format!("{kind:?}"),
    };
    format!("{kind:?} {}", gist(&said.message))
}

/// A refusal's sentence without what it quotes, so that the same refusal of another word is nothing new.
fn gist(message: &str) -> String {
    let words = message.split(['"', '=', '(']).next().unwrap_or_default();
    match words.split_once(": this socket does not know") {
        Some((field, _)) => format!(
            "unknown field of {:?}",
            field.rsplit_once('.').map(|(place, _)| place)
        ),
        None => words.chars().filter(|letter| !letter.is_ascii_digit()).collect(),
    }
}

/// Tries a first line; whether it led to something new.
fn aim(bytes: &[u8], seed: u64, seen: &mut HashSet<String>) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (method, rest) = text.split_once(' ').unwrap_or(("GET", &text));
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let target = match skep_grant::target(method, path, query) {
        Ok(target) => target,
        Err(refusal) => {
            let reason = refusal.message.rsplit(": ").next().unwrap_or_default();
            return seen.insert(gist(reason));
        }
    };
    let named = format!("{:?}", target.call);
    let again = target.query.written();
    // Names go into the path of the daemon's own call.
    let is_odd = path.contains(['%', '?', '#', '\\', ' '])
        || path.contains("//")
        || path.split('/').any(|part| matches!(part, "." | ".."));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"?&=%-._~".contains(&byte);
    assert!(
        !is_odd && again.bytes().all(plain),
        "seed {seed}: {text:?} becomes {named} {again}"
    );
    if let Some(filters) = target.query.get("filters")
        && let Ok(filters) = Filters::parse(filters, &["label"])
    {
        let written: serde_json::Value = serde_json::from_str(&filters.written()).expect("it is JSON");
        let keys: Vec<&String> = written
            .as_object()
            .into_iter()
            .flat_map(|object| object.keys())
            .collect();
        assert!(keys.iter().all(|key| *key == "label"), "seed {seed}: {text:?}");
    }
    let kind = named.split(['(', '"']).next().unwrap_or_default().to_owned();
    let parameters: Vec<&str> = again
        .split(['?', '&'])
        .filter_map(|pair| pair.split('=').next())
        .collect();
    seen.insert(format!("{kind} {parameters:?}"))
}
