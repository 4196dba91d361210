//! The tables that are printed, row by row as each is measured.

/// What a row of the bench found.
pub(crate) enum Report {
    /// Promises, each beside its yardstick.
    Promises(Vec<Line>),
    /// A table of its own: its head, and its rows.
    Table(Vec<Vec<String>>),
}

/// One promise: what was measured, its yardstick, and what was promised.
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) skep: String,
    pub(crate) yardstick: String,
    pub(crate) result: String,
    pub(crate) promise: &'static str,
}

/// Prints what is measured, in Markdown.
#[derive(Default)]
pub(crate) struct Printer {
    /// Whether the table that the last line belongs to is that of the promises.
    among_promises: bool,
}

impl Printer {
    pub(crate) fn print(&mut self, report: &Report) {
        match report {
            Report::Promises(lines) => {
                if !self.among_promises {
                    print_row(&["what", "Skep", "yardstick", "result", "promise"]);
                    print_row(&["---"; 5]);
                }
                self.among_promises = true;
                for line in lines {
                    print_row(&[
                        &line.what,
                        &line.skep,
                        &line.yardstick,
                        &line.result,
                        line.promise,
                    ]);
                }
            }
            Report::Table(rows) => {
                self.among_promises = false;
                println!();
                for (row, index) in rows.iter().zip(0..) {
                    print_row(row);
                    if index == 0 {
                        print_row(&vec!["---"; row.len()]);
                    }
                }
                println!();
            }
        }
    }
}

fn print_row(cells: &[impl AsRef<str>]) {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    println!("| {} |", cells.join(" | "));
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
