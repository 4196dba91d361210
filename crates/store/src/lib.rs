//! What is kept on disk: the queue of asynchronous invocations with their requests and responses, the records of
//! every invocation, and the logs. It owns the data directory and promises that what [`Store::accept`] and
//! [`Store::finish`] returned `Ok` for survives a crash and a power cut; records of synchronous invocations and
//! logs are written behind. It never runs an invocation, decides when one is run, or knows a function beyond its
//! name. [`Queue`] is what accepted work needs of a store: another one, which the gateways of a Swarm share, may stand
//! in its place.
//!
//! Two databases, each with one writer thread that commits in groups (`docs/decisions/040-storage.md`):
//! `skep.sqlite` is the queue, synced with every commit; `records.sqlite` has what is written behind, so that a
//! flood of logs never delays an accept. Bodies above 64 KiB are files in `bodies/`.

mod accepted;
mod body;
mod columns;
mod config;
mod counts;
mod error;
mod files;
pub mod headers;
mod invocation;
mod journal;
mod key;
mod listing;
mod metrics;
mod query;
mod queue;
mod quota;
mod read;
mod recover;
mod retention;
mod schema;
mod spill;
mod store;
mod work_queue;
mod writer;

pub use body::{Body, BodyReader, BodyWriter, Elsewhere, SPILL_AT, Spill, Spilling};
pub use config::Config;
pub use error::StoreError;
pub use invocation::{Accepted, NewInvocation, Request, StoredResponse, Waiting};
pub use key::{Key, KeyError, KeyHash};
pub use query::{Found, IdPrefix, IdPrefixError, LogFilter, RecordFilter, RecordPage, StoredLine};
pub use read::LogFollower;
pub use retention::Tidied;
pub use store::Store;
pub use work_queue::{Answer, Queue};
