//! What a child uses, and what runs in it.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use serde_json::{Value, json};
use skep_grant::Refusal;
use skep_lean::RunningChild;

use super::child::LeanChild;
use super::create::failed;
use super::lock;
use crate::answer::{Answer, BodyError};

/// How often it is measured.
const PERIOD: Duration = Duration::from_secs(1);

fn text(running: &RunningChild, file: &str) -> Option<String> {
    fs::read_to_string(running.cgroup_file(file)?).ok()
}

fn number(running: &RunningChild, files: &[&str]) -> u64 {
    let texts = files.iter().filter_map(|file| text(running, file));
    texts
        .filter_map(|text| text.trim().parse().ok())
        .next()
        .unwrap_or(0)
}

fn table(running: &RunningChild, file: &str) -> serde_json::Map<String, Value> {
    let text = text(running, file).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs
        .filter_map(|(key, value)| Some((key.to_owned(), value.trim().parse::<u64>().ok()?.into())))
        .collect()
}

/// Nanoseconds that all processors of the node have had.
fn system() -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .take(8);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>() * 10_000_000
}

fn processors(running: &RunningChild) -> Value {
    let unified = table(running, "cpu.stat");
    let micro = |name: &str| unified.get(name).and_then(Value::as_u64).unwrap_or(0) * 1000;
    let all = text(running, "cpuacct.usage_percpu").unwrap_or_default();
    let each: Vec<u64> = all
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let total = text(running, "cpuacct.usage").and_then(|text| text.trim().parse().ok());
    let online = std::thread::available_parallelism().map_or(1, usize::from);
    let mut usage = json!({
        "total_usage": total.unwrap_or_else(|| micro("usage_usec")),
        "usage_in_kernelmode": micro("system_usec"), "usage_in_usermode": micro("user_usec"),
    });
    if !each.is_empty() {
        usage["percpu_usage"] = each.into();
    }
    let of = |name: &str| unified.get(name).cloned().unwrap_or(json!(0));
    json!({
        "cpu_usage": usage, "system_cpu_usage": system(), "online_cpus": online,
        "throttling_data": {
            "periods": of("nr_periods"), "throttled_periods": of("nr_throttled"), "throttled_time": of("throttled_time"),
        },
    })
}

fn measured(child: &LeanChild, before: &Value) -> (Value, Value) {
    let name = format!("/{}", lock(&child.name));
    let Some(running) = child.doing().running else {
        let never = "0001-01-01T00:00:00Z";
        let empty = json!({
            "read": never, "preread": never, "pids_stats": {}, "blkio_stats": {}, "num_procs": 0, "storage_stats": {},
            "cpu_stats": {}, "precpu_stats": {}, "memory_stats": {}, "name": name, "id": child.id,
        });
        return (empty, Value::Null);
    };
    let now = Timestamp::now().to_string();
    let processors = processors(&running);
    let (read, previous) = (before.get("read"), before.get("cpu_stats"));
    let usage = number(&running, &["memory.usage_in_bytes", "memory.current"]);
    let limit = number(&running, &["memory.limit_in_bytes", "memory.max"]);
    let value = json!({
        "read": now, "preread": read.cloned().unwrap_or(json!("0001-01-01T00:00:00Z")),
        "pids_stats": { "current": number(&running, &["pids.current"]) },
        "blkio_stats": {}, "num_procs": 0, "storage_stats": {},
        "cpu_stats": processors, "precpu_stats": previous.cloned().unwrap_or(json!({})),
        "memory_stats": {
            "usage": usage, "max_usage": number(&running, &["memory.max_usage_in_bytes", "memory.peak"]),
            "stats": table(&running, "memory.stat"), "limit": limit,
        },
        "name": name, "id": child.id, "networks": networks(running.process),
    });
    let kept = json!({ "read": value["read"], "cpu_stats": value["cpu_stats"] });
    (value, kept)
}

/// What has gone through the devices of its network.
fn networks(process: u32) -> Value {
    let text = fs::read_to_string(format!("/proc/{process}/net/dev")).unwrap_or_default();
    let mut devices = serde_json::Map::new();
    for (name, counts) in text.lines().filter_map(|line| line.split_once(':')) {
        let counts: Vec<u64> = counts
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        if let ([rx, rxp, rxe, rxd, _, _, _, _, tx, txp, txe, txd, ..], false) =
            (&counts[..], name.trim() == "lo")
        {
            let device = json!({
                "rx_bytes": rx, "rx_packets": rxp, "rx_errors": rxe, "rx_dropped": rxd,
                "tx_bytes": tx, "tx_packets": txp, "tx_errors": txe, "tx_dropped": txd,
            });
            devices.insert(name.trim().to_owned(), device);
        }
    }
    Value::Object(devices)
}

/// `GET /containers/ID/stats`.
pub(super) async fn stats(child: &Arc<LeanChild>, follow: bool, once: bool) -> Answer {
    let begin = (child.clone(), Value::Null, 0_u32);
    let measurements = stream::unfold(begin, move |(child, before, count)| async move {
        if count > 0 && !follow {
            return None;
        }
        let mut before = before;
        if count > 0 {
            tokio::time::sleep(PERIOD).await;
        } else if !follow && !once {
            // Two looks make the use of the processors.
            before = measured(&child, &before).1;
            tokio::time::sleep(PERIOD).await;
        }
        if matches!(child.doing().status, super::child::Status::Removed) {
            return None;
        }
        let (value, kept) = measured(&child, &before);
        let frame = Frame::data(format!("{value}\n").into());
        Some((Ok::<_, BodyError>(frame), (child, kept, count + 1)))
    });
    let mut answer = Answer::new(StreamBody::new(measurements).boxed_unsync());
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}

/// `GET /containers/ID/top`: the host's `ps`, of what is in the child's cgroup.
pub(super) async fn top(child: &LeanChild, arguments: &str) -> Result<Answer, Refusal> {
    let running = child.doing().running;
    let running = running.ok_or_else(|| Refusal {
        status: 409,
        message: format!("Container {} is not running", child.id),
    })?;
    let inside = text(&running, "cgroup.procs").unwrap_or_default();
    let inside: HashSet<&str> = inside.lines().collect();
    let arguments = if arguments.is_empty() { "-ef" } else { arguments };
    let output = tokio::process::Command::new("ps")
        .args(arguments.split_whitespace())
        .kill_on_drop(true)
        .output();
    let output = output
        .await
        .map_err(|error| failed(&format!("ps can't be run: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(&format!("ps: {}", said.trim())));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let titles: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let pid = titles.iter().position(|title| *title == "PID");
    let pid = pid.ok_or_else(|| failed("Couldn't find PID field in ps output"))?;
    let rows: Vec<Vec<String>> = lines
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            inside.contains(words.get(pid)?).then(|| {
                let last = titles.len().saturating_sub(1).min(words.len());
                let mut row: Vec<String> = words[..last].iter().map(|word| (*word).to_owned()).collect();
                row.push(words[last..].join(" "));
                row
            })
        })
        .collect();
    let value = json!({ "Titles": titles, "Processes": rows });
    Ok(crate::answer::json(StatusCode::OK, &value))
}
