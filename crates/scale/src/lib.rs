//! How many sandboxes a function is to have on a Swarm, and who decides that: arithmetic over demand and time, and the
//! lease as a state machine. It owns the rules of decision 090 about both; it reads no clock, speaks to nobody and
//! changes nothing: the same history gives the same answer.

mod lease;
mod limits;
mod need;
mod scaler;

pub use lease::{Holder, Lease, Seen, Step};
pub use limits::Limits;
pub use scaler::{Reason, Scaler, Target};
