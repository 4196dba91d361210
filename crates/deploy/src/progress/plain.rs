//! One line an event, for logs and pipes.

use super::{Event, Progress};
use std::io::Write;
use std::sync::Mutex;

/// Writes lines without colours or movement.
pub struct Plain<W: Write + Send> {
    output: Mutex<W>,
}

impl<W: Write + Send> Plain<W> {
    /// Writes to `output`; what cannot be written is lost.
    pub fn new(output: W) -> Self {
        Self {
            output: Mutex::new(output),
        }
    }
}

impl<W: Write + Send> Progress for Plain<W> {
    fn event(&self, event: Event) {
        let Some(line) = line(&event) else {
            return;
        };
        if let Ok(mut output) = self.output.lock() {
            // A closed standard error must not end the deploy.
            let _ = writeln!(output, "{line}");
        }
    }
}

/// The event in words; `None` where a line would say nothing new.
pub(super) fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::Building { image } => format!("{image}: building"),
        Event::Step { image, text } => format!("{image}: {text}"),
        Event::Built { image } => format!("{image}: built"),
        Event::Pulling { image } => format!("{image}: pulling"),
        Event::Pulled { image } => format!("{image}: pulled"),
        Event::Created { kind, name } => format!("{kind} {name}: created"),
        Event::Parked { name, function } => format!("container {name}: parked as {function}"),
        Event::InForce { name, function } => format!("container {name}: {function} in force"),
        Event::Started { name } => format!("container {name}: started"),
        Event::Waiting { name, what } => format!("{name}: waiting for {what}"),
        Event::Waited { .. } => return None,
        Event::Unchanged { name } => format!("container {name}: unchanged"),
        Event::Recreating { name } => format!("container {name}: replacing"),
        Event::Stopping { name } => format!("container {name}: stopping"),
        Event::Removed { kind, name } => format!("{kind} {name}: removed"),
        Event::Note { text } => format!("note: {text}"),
    })
}
