//! Lines that change in place: what is under way spins, what is done stays.

use super::plain::line;
use super::{Event, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

/// Draws on standard error.
pub struct Terminal {
    screen: MultiProgress,
    /// What is under way, by its name.
    spinners: Mutex<HashMap<String, ProgressBar>>,
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

impl Terminal {
    /// Draws on standard error.
    pub fn new() -> Self {
        Self {
            screen: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            spinners: Mutex::default(),
        }
    }

    fn begin(&self, name: &str, text: String) {
        let Ok(mut spinners) = self.spinners.lock() else {
            return;
        };
        let spinner = spinners.entry(name.to_owned()).or_insert_with(|| {
            let spinner = self.screen.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(120));
            spinner
        });
        spinner.set_message(text);
    }

    fn end(&self, name: &str, text: Option<String>) {
        if let Ok(mut spinners) = self.spinners.lock()
            && let Some(spinner) = spinners.remove(name)
        {
            spinner.finish_and_clear();
            self.screen.remove(&spinner);
        }
        if let Some(text) = text {
            // Nobody can be told that the terminal is gone.
            let _ = self.screen.println(text);
        }
    }
}

impl Progress for Terminal {
    fn event(&self, event: Event) {
        let text = line(&event);
        match &event {
            Event::Building { image } | Event::Pulling { image } | Event::Step { image, .. } => {
                self.begin(image, text.unwrap_or_default());
            }
            Event::Waiting { name, .. } | Event::Recreating { name } | Event::Stopping { name } => {
                self.begin(name, text.unwrap_or_default())
            }
            Event::Built { image } => self.end(image, Some(format!("✔ {image}: built"))),
            Event::Pulled { image } => self.end(image, Some(format!("✔ {image}: pulled"))),
            Event::Waited { name } => self.end(name, None),
            Event::Created { name, .. }
            | Event::Parked { name, .. }
            | Event::InForce { name, .. }
            | Event::Started { name }
            | Event::Unchanged { name }
            | Event::Removed { name, .. } => {
                self.end(name, text.map(|text| format!("✔ {text}")));
            }
            Event::Note { .. } => self.end("", text),
        }
    }
}
