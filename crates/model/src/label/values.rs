//! How the texts of labels are read; each reader's error is a sentence that says what is allowed.

use std::str::FromStr;
use std::time::Duration;

use crate::route::Route;
use crate::settings::{Ready, Recycle};

pub(super) fn one_of<T: Copy>(text: &str, known: &[(&str, T)]) -> Result<T, String> {
    known
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
            format!("must be one of {}", words.join(", "))
        })
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    one_of(text, &[("true", true), ("false", false)])
}

pub(super) fn number<T>(text: &str, allowed: std::ops::RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + std::fmt::Display,
{
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<T>() {
        Ok(value) if digits && allowed.contains(&value) => Ok(value),
        _ => Err(format!(
            "must be a whole number from {} to {}",
            allowed.start(),
            allowed.end()
        )),
    }
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    number(text, 1..=65_535)
}

pub(super) fn routes(text: &str) -> Result<Vec<Route>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let mut routes: Vec<Route> = Vec::new();
    for part in text.split(',').map(str::trim) {
        if part == "none" {
            return Err("none stands alone".to_owned());
        }
        let route = part.parse::<Route>().map_err(|error| error.to_string())?;
        if routes.contains(&route) {
            return Err(format!("{route} is there twice"));
        }
        routes.push(route);
    }
    Ok(routes)
}

pub(super) fn ready(text: &str) -> Result<Ready, String> {
    let path = text.parse::<http::uri::PathAndQuery>();
    if text.starts_with('/') && path.is_ok() {
        Ok(Ready::Path(text.to_owned()))
    } else {
        Err("must be a path such as /healthz".to_owned())
    }
}

pub(super) fn recycle(text: &str) -> Result<Recycle, String> {
    match text {
        "request" => Ok(Recycle::Request),
        "idle" => Ok(Recycle::Idle),
        _ => number(text, 1..=1_000_000_000)
            .map(|count| {
                if count == 1 {
                    Recycle::Request
                } else {
                    Recycle::After(count)
                }
            })
            .map_err(|error| format!("must be request, idle, or a number: it {error}")),
    }
}

/// Reads a length of time as Docker and Go write it: `90s`, `1m30s`, `500ms`, `1.5h`.
///
/// # Errors
/// A sentence that says what is allowed.
pub fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, f64); 6] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let fail = || "must be a length of time above zero, such as 500ms, 30s or 1m30s".to_owned();
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .ok_or_else(fail)?;
        let amount: f64 = rest[..digits].parse().map_err(|_| fail())?;
        rest = &rest[digits..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let (_, unit) = UNITS
            .iter()
            .find(|(word, _)| *word == &rest[..end])
            .ok_or_else(fail)?;
        seconds += amount * unit;
        rest = &rest[end..];
    }
    if seconds > 0.0 && seconds <= 366.0 * 86_400.0 {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(fail())
    }
}

/// Reads an amount of bytes as Docker writes it: `256m`, `1g`, `64k`, `1024`; powers of 1024.
///
/// # Errors
/// A sentence that says what is allowed.
pub fn bytes(text: &str) -> Result<u64, String> {
    let fail = || "must be an amount of bytes above zero, such as 256m or 1g".to_owned();
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let amount: u64 = lower[..digits].parse().map_err(|_| fail())?;
    let shift = match &lower[digits..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(fail()),
    };
    amount
        .checked_mul(1 << shift)
        .filter(|total| *total > 0)
        .ok_or_else(fail)
}
