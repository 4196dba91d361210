//! What the browser test of the voting example stands on: a variant of the
//! app, started through `skep serve` and `skep deploy` in a namespace, project
//! and data folder of its own, and Chromium, driven through its WebDriver. It
//! owns every process, container, network and volume that it makes and removes
//! them when dropped, after a failure too. It never looks at Skep's insides:
//! the app is known by its two addresses only.

mod app;
mod browser;

pub use app::{App, Variant};
pub use browser::{Browser, Driver};
