//! Whole files, loaded.

mod files;
mod forms;
mod functions;
mod harness;
mod interpolation;
mod refusals;
mod robustness;
