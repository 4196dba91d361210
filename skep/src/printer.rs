//! The one way to the screen: data on standard output, everything said about it on standard error. Without a
//! terminal everything is plain.

use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::environment;
use crate::exit::{Exit, Failed};

/// What a cell means, where the colour says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Attention,
    Bad,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Attention => "33",
            Self::Bad => "31",
        }
    }
}

/// Writes to standard output and standard error.
#[derive(Debug)]
pub(crate) struct Printer {
    color: bool,
    errors_in_color: bool,
}

impl Printer {
    pub(crate) fn new() -> Self {
        let allowed = std::env::var_os(environment::NO_COLOR).is_none_or(|value| value.is_empty());
        Self {
            color: allowed && io::stdout().is_terminal(),
            errors_in_color: allowed && io::stderr().is_terminal(),
        }
    }

    /// A line of data.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failed> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Data as it is.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failed> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)
            .and_then(|()| out.flush())
            .map_err(|error| unwritten(&error))
    }

    /// The rows of the terminal that a person looks at; `None` where nobody does.
    pub(crate) fn rows(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        let rows = usize::from(size.ws_row);
        // A terminal that doesn't say how large it is.
        Some(if rows == 0 { usize::MAX } else { rows })
    }

    /// A picture that takes the place of one that had so many lines. A line that is longer than the terminal is wide
    /// is cut there: one that went on below would leave its end behind.
    pub(crate) fn picture(&self, text: &str, lines_before: usize) -> Result<(), Failed> {
        let back = match lines_before {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        };
        self.bytes(format!("{back}\x1b[?7l{text}\x1b[?7h").as_bytes())
    }

    /// Data as JSON, for programs.
    pub(crate) fn json<T: Serialize>(&self, value: &T) -> Result<(), Failed> {
        self.line(&serde_json::to_string_pretty(value).map_err(|error| unwritable(&error))?)
    }

    /// The same in one line, for who reads one after the other.
    pub(crate) fn json_line<T: Serialize>(&self, value: &T) -> Result<(), Failed> {
        self.line(&serde_json::to_string(value).map_err(|error| unwritable(&error))?)
    }

    /// Rows under headings.
    pub(crate) fn table(&self, headings: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failed> {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(headings.to_vec());
        table.add_rows(rows);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        self.line(&table.trim_fmt())
    }

    /// A word with a colour, where there are colours.
    pub(crate) fn toned(&self, text: &str, tone: Tone) -> String {
        if self.color {
            format!("\x1b[{}m{text}\x1b[0m", tone.code())
        } else {
            text.to_owned()
        }
    }

    /// Something said about the data.
    pub(crate) fn note(&self, text: &str) {
        // Nobody reads standard error any more: then there is nobody to be told, either.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Why the command failed.
    pub(crate) fn failed(&self, failed: &Failed) {
        let label = if self.errors_in_color {
            "\x1b[31merror\x1b[0m"
        } else {
            "error"
        };
        self.note(&format!("{label}: {failed}"));
        if let Some(hint) = &failed.hint {
            let label = if self.errors_in_color {
                "\x1b[36mhint\x1b[0m"
            } else {
                "hint"
            };
            self.note(&format!("{label}: {hint}"));
        }
    }
}

fn unwritable(error: &serde_json::Error) -> Failed {
    Failed::new(
        Exit::Failure,
        format!("the answer can't be written as JSON: {error}"),
    )
}

fn unwritten(error: &io::Error) -> Failed {
    // `skep logs x | head` is no mistake; as with other tools the reader that went away is simply the end.
    let exit = if error.kind() == io::ErrorKind::BrokenPipe {
        Exit::Success
    } else {
        Exit::Failure
    };
    Failed::new(exit, format!("standard output can't be written: {error}"))
}
