//! How header fields stand in a row: as on the wire in HTTP/1.1 (RFC 9112, section 5), so that a person who opens
//! the database can read them. Neither names nor values can hold a line break, hence nothing needs escaping.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The fields as `name: value` lines.
pub fn encode(headers: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in headers {
        lines.extend_from_slice(name.as_str().as_bytes());
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(value.as_bytes());
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

/// The fields that [`encode`] wrote; a line that is none is left out.
pub fn decode(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = line.windows(2).position(|pair| pair == b": ") else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(&line[colon + 2..]);
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_went_in() {
        let mut headers = HeaderMap::new();
        headers.append("set-cookie", HeaderValue::from_static("a=1; Path=/"));
        headers.append("set-cookie", HeaderValue::from_static("b: 2"));
        headers.append("x-bytes", HeaderValue::from_bytes(b"\xe9t\xe9").unwrap());
        headers.append("x-empty", HeaderValue::from_static(""));
        assert_eq!(decode(&encode(&headers)), headers);
        assert_eq!(decode(b""), HeaderMap::new());
    }
}
