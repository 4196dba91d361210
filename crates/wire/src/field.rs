//! A value in a field of a request or an answer: JSON as base64, which no field forbids.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::HeaderValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A field that no member of this version wrote.
#[derive(Debug, thiserror::Error)]
pub enum FieldError {
    /// It isn't base64.
    #[error("it is not base64: {0}")]
    Encoding(#[from] base64::DecodeError),
    /// It isn't what a member of this version writes.
    #[error("it is not what a member of this version writes: {0}")]
    Json(#[from] serde_json::Error),
}

/// What is said in one field.
pub trait Field: Serialize + DeserializeOwned {
    /// The field's value.
    fn header(&self) -> HeaderValue {
        let json = serde_json::to_vec(self).unwrap_or_default();
        HeaderValue::try_from(STANDARD_NO_PAD.encode(json)).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// Reads such a value.
    ///
    /// # Errors
    /// It is none.
    fn read(value: &HeaderValue) -> Result<Self, FieldError> {
        let json = STANDARD_NO_PAD.decode(value.as_bytes())?;
        Ok(serde_json::from_slice(&json)?)
    }
}
