//! One set of behaviours for both queues, on a real disk and on a real server; and what only a shared one can do.

mod behaviours;
mod shared;
mod world;
