//! Keys of asynchronous invocations: 128 random bits, knowing which is the right to look. Only a hash is stored.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// The secret part of an asynchronous invocation's address, as text 32 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 16]);

/// A key's SHA-256, which is all that is stored of it.
#[derive(Debug, Clone, Copy)]
pub struct KeyHash([u8; 32]);

/// A text that is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key; a key is 32 hexadecimal digits")]
pub struct KeyError;

impl Key {
    /// A new key from the operating system's random numbers.
    ///
    /// # Panics
    /// Where the system has no random numbers; nothing secret can be made there.
    pub fn generate() -> Self {
        Self(random_bytes())
    }

    /// What is stored of it.
    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.0).into())
    }
}

impl KeyHash {
    /// Its bytes, to be stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether a stored hash is this one, in a time that does not depend on where they differ.
    pub fn matches(&self, stored: &[u8]) -> bool {
        let difference = self
            .0
            .iter()
            .zip(stored)
            .fold(0, |all, (one, other)| all | (one ^ other));
        stored.len() == self.0.len() && std::hint::black_box(difference) == 0
    }
}

/// 128 bits that nobody can guess.
pub(crate) fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
    bytes
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hexadecimal(&self.0))
    }
}

/// Never shows the key: it would end up in a log.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = text.as_bytes();
        let mut key = [0; 16];
        if bytes.len() != 32 || !bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(KeyError);
        }
        for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| KeyError)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| KeyError)?;
        }
        Ok(Self(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_from_its_text_and_from_no_other() {
        let key = Key::generate();
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        assert_eq!(
            key.to_string().to_uppercase().parse::<Key>().is_ok(),
            !key.to_string().contains(char::is_alphabetic)
        );
        for bad in ["", "12", "+1234567890123456789012345678901", &"é".repeat(16)] {
            assert_eq!(bad.parse::<Key>(), Err(KeyError), "{bad}");
        }
    }

    #[test]
    fn only_the_right_key_matches_and_none_is_shown_when_debugged() {
        let (key, other) = (Key::generate(), Key::generate());
        assert!(key.hash().matches(key.hash().as_bytes()));
        assert!(!key.hash().matches(other.hash().as_bytes()));
        assert!(!key.hash().matches(&[]));
        assert_eq!(format!("{key:?}"), "Key(…)");
    }
}
