//! What Skep promises, tried on the real binary with a real engine. One file for each theme.

mod discovery;
mod exec;
