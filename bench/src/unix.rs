//! A client of Docker's API over its socket that does nothing but send, read and count: what it takes is what the
//! other end takes.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

/// One kept connection.
pub(crate) struct Client {
    writer: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Client {
    pub(crate) fn connect(socket: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(socket).with_context(|| socket.display().to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self {
            writer: stream.try_clone()?,
            reader: BufReader::new(stream),
        })
    }

    /// A call and its whole answer.
    pub(crate) fn call(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<Value> {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        self.writer.write_all(request.as_bytes())?;
        let (status, answer) = self.answer()?;
        if !(200..300).contains(&status) {
            bail!("{method} {path}: {status} {}", String::from_utf8_lossy(&answer));
        }
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }

    fn answer(&mut self) -> anyhow::Result<(u16, Vec<u8>)> {
        let (mut line, mut length, mut chunked) = (String::new(), 0, false);
        self.reader.read_line(&mut line)?;
        let status = line.get(9..12).and_then(|status| status.parse().ok());
        let status: u16 = status.with_context(|| format!("{line:?} is no answer"))?;
        while line != "\r\n" {
            line.clear();
            self.reader.read_line(&mut line)?;
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            chunked |= lower.starts_with("transfer-encoding: chunked");
        }
        let mut body = Vec::new();
        if !chunked {
            (&mut self.reader).take(length).read_to_end(&mut body)?;
            return Ok((status, body));
        }
        loop {
            line.clear();
            self.reader.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim(), 16).context("a chunk's size")?;
            (&mut self.reader).take(size).read_to_end(&mut body)?;
            line.clear();
            self.reader.read_line(&mut line)?;
            if size == 0 {
                return Ok((status, body));
            }
        }
    }

    /// Makes a container, starts it, waits for its end, and removes it.
    pub(crate) fn run(&mut self, body: &str) -> anyhow::Result<()> {
        let made = self.call("POST", "/containers/create", body)?;
        let id = made["Id"].as_str().context("an id")?;
        self.call("POST", &format!("/containers/{id}/start"), "")?;
        let ended = self.call("POST", &format!("/containers/{id}/wait"), "")?;
        if ended["StatusCode"] != 0 {
            bail!("a container ended with {ended}");
        }
        self.call("DELETE", &format!("/containers/{id}"), "").map(drop)
    }
}
