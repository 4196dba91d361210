//! What people put into a parked container with `docker cp`: read from the engine once, kept in a file without a
//! name, and put into whatever is made from the container afterwards. It owns both directions of the archive and the
//! rule which of a container's changed paths are somebody's and which the engine made itself. It never decides when
//! to look, and never starts, makes or removes a container.
//!
//! A container's changes are the difference between its own layer and its image. The folders for mounts and for a
//! working directory that the image lacks are among them, made by the engine at creation; everything else was put
//! there by somebody.

mod links;
mod paths;
mod put;
mod read;
mod untouched;

pub use put::put;
pub use read::{LIMIT, ReadError, read};
