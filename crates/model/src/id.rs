//! Identities that Skep gives out: UUIDv7 (RFC 9562), so that they sort by the time they were made.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identity, later than every one that this process made before.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The 16 bytes, in the order that sorts by time.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The same as its `Display`, written into a buffer: what every request needs does not take memory.
            pub fn write<'a>(&self, buffer: &'a mut [u8; 36]) -> &'a str {
                self.0.hyphenated().encode_lower(buffer)
            }

            /// The identity with these 16 bytes.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

identity!(
    /// The id of one invocation.
    InvocationId
);
identity!(
    /// The id of one instance.
    InstanceId
);

impl InstanceId {
    /// The address that stands for the instance where its connections come from a loopback, of which there are many
    /// (RFC 4193: `fd`, 40 bits of our own, and what is random in the id).
    pub fn stand_in(&self) -> Ipv6Addr {
        let mut address = [0; 16];
        address[..6].copy_from_slice(&[0xfd, b's', b'k', b'e', b'p', 0]);
        address[8..].copy_from_slice(&self.as_bytes()[8..]);
        address.into()
    }
}

impl InvocationId {
    /// When the invocation was made, in milliseconds since the Unix epoch (the UUID's own time stamp).
    pub fn unix_milliseconds(&self) -> u64 {
        let bytes = self.as_bytes();
        bytes[..6]
            .iter()
            .fold(0, |time, byte| (time << 8) | u64::from(*byte))
    }
}
