//! What happens during a deploy, and two ways of showing it.

mod plain;
mod terminal;

pub use plain::Plain;
pub use terminal::Terminal;

use std::io::IsTerminal;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An image is being built.
    Building {
        /// The image.
        image: String,
    },
    /// A line of the builder or the registry.
    Step {
        /// The image.
        image: String,
        /// The line.
        text: String,
    },
    /// An image was built.
    Built {
        /// The image.
        image: String,
    },
    /// An image is being pulled.
    Pulling {
        /// The image.
        image: String,
    },
    /// An image was pulled.
    Pulled {
        /// The image.
        image: String,
    },
    /// A network, volume or container was created.
    Created {
        /// `network`, `volume`, `container`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A function's template was parked.
    Parked {
        /// The container.
        name: String,
        /// The function.
        function: String,
    },
    /// Skep runs a new template.
    InForce {
        /// The container.
        name: String,
        /// The function.
        function: String,
    },
    /// A container was started.
    Started {
        /// The container.
        name: String,
    },
    /// Something is being waited for.
    Waiting {
        /// Who waits.
        name: String,
        /// For what.
        what: String,
    },
    /// The waiting of `name` is over.
    Waited {
        /// Who waited.
        name: String,
    },
    /// A container is as it should be.
    Unchanged {
        /// The container.
        name: String,
    },
    /// A container is being replaced.
    Recreating {
        /// The container.
        name: String,
    },
    /// A container is being stopped.
    Stopping {
        /// The container.
        name: String,
    },
    /// A network, volume or container was removed.
    Removed {
        /// `network`, `volume`, `container`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// Something the user should know.
    Note {
        /// A sentence.
        text: String,
    },
}

/// Whoever wants to know what happens.
pub trait Progress: Send + Sync {
    /// Something happened; must not block for long.
    fn event(&self, event: Event);
}

/// Tells nobody.
impl Progress for () {
    fn event(&self, _event: Event) {}
}

/// On a terminal lines that change in place, otherwise one line an event;
/// both on standard error.
pub fn for_standard_error() -> Box<dyn Progress> {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if std::io::stderr().is_terminal() && !dumb {
        Box::new(Terminal::new())
    } else {
        Box::new(Plain::new(std::io::stderr()))
    }
}
