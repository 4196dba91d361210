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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("one thread").write(buffer)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_event_is_a_line_without_colours_and_the_end_of_a_wait_is_none() {
        let output = Shared::default();
        let plain = Plain::new(output.clone());
        let name = String::from("app-web-1");
        plain.event(Event::Created {
            kind: "network",
            name: String::from("app_default"),
        });
        plain.event(Event::Waiting {
            name: name.clone(),
            what: String::from("db to be healthy"),
        });
        plain.event(Event::Waited { name: name.clone() });
        plain.event(Event::Started { name });
        let written = output.0.lock().expect("one thread").clone();
        assert_eq!(
            String::from_utf8(written).expect("text"),
            "network app_default: created\napp-web-1: waiting for db to be healthy\ncontainer app-web-1: started\n"
        );
    }
}
