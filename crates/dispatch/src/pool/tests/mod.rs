//! The pool against a driver that does what the test says: rules one by one, then whatever random events do.

mod bench;
mod checks;
mod fairness;
mod properties;
mod revisions;
mod rules;
