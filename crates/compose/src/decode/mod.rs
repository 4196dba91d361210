//! From the tree to the typed project: every key is asked for by name, and
//! what nobody asked for is refused.

mod build;
mod checks;
mod fields;
mod files;
mod function;
mod health;
mod hints;
mod labels;
mod mounts;
mod networks;
mod ports;
mod resources;
mod scalars;
mod service;
mod top;
mod units;
mod words;

pub(crate) use checks::check;
pub(crate) use fields::Context;
pub(crate) use top::decode;
pub(crate) use words::read_text;
