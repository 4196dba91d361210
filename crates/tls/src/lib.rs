//! The connections between the members of a cluster: mutual TLS 1.3 by the cluster's own authority, HTTP/2 for
//! everything and HTTP/1.1 for upgrades. It owns who is believed to be whom, how members are found by their names, and how
//! such connections are made, kept alive and ended; it never looks at what is said over them.
//!
//! A member has an [`Identity`]: its certificate, whose one name says what it is (a gateway, an agent), and the
//! authority's. A [`Dialer`] connects to members of one name, a [`Listener`] accepts those of one name.

mod authority;
mod dialer;
mod follow;
mod identity;
mod listener;
mod request;
mod verifier;

pub use authority::{Authority, AuthorityError, Member};
pub use dialer::{Body, DialError, Dialer, Line, Upgradable, body};
pub use follow::{Members, follow};
pub use identity::{Identity, IdentityError};
pub use listener::{Listener, Reply};
pub use request::{address, address_upgrade, unaddress, was_not_sent};
