//! The table that is printed, row by row as each is measured.

/// One promise: what was measured, its yardstick, and what was promised.
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) skep: String,
    pub(crate) yardstick: String,
    pub(crate) result: String,
    pub(crate) promise: &'static str,
}

pub(crate) fn header() {
    println!("| what | Skep | yardstick | result | promise |");
    println!("| --- | --- | --- | --- | --- |");
}

pub(crate) fn row(line: &Line) {
    let Line {
        what,
        skep,
        yardstick,
        result,
        promise,
    } = line;
    println!("| {what} | {skep} | {yardstick} | {result} | {promise} |");
}

/// A time in milliseconds with as many digits as mean something.
pub(crate) fn milliseconds(time: std::time::Duration) -> String {
    let value = time.as_secs_f64() * 1e3;
    match value {
        v if v < 10.0 => format!("{v:.3} ms"),
        v if v < 100.0 => format!("{v:.1} ms"),
        v => format!("{v:.0} ms"),
    }
}
