//! The store against a real disk: what is promised, and what happens when the disk, the process or the reader fails.

mod crash;
mod full_disk;
mod queue;
mod records;
mod retention;
mod support;
