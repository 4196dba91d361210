//! The pool against a driver that does what the test says: rules one by one, then whatever random events do.

mod bench;
mod fairness;
mod properties;
mod rules;
