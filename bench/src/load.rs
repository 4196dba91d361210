//! The clients: one blocking connection for latencies, `wrk` for throughput.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// One kept connection.
pub(crate) struct Client {
    writer: TcpStream,
    reader: BufReader<TcpStream>,
    request: String,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr, path: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self {
            writer: stream.try_clone()?,
            reader: BufReader::new(stream),
            request: format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        })
    }

    /// Sends one request after another; gives the time of each.
    pub(crate) fn latencies(&mut self, count: usize) -> anyhow::Result<Vec<Duration>> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let began = Instant::now();
            self.writer.write_all(self.request.as_bytes())?;
            read_response(&mut self.reader)?;
            times.push(began.elapsed());
        }
        Ok(times)
    }
}

/// Sends one request after another over one kept connection; gives the time of each.
pub(crate) fn latencies(address: SocketAddr, path: &str, count: usize) -> anyhow::Result<Vec<Duration>> {
    Client::connect(address, path)?.latencies(count)
}

fn read_response(reader: &mut BufReader<TcpStream>) -> anyhow::Result<()> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200") {
        bail!("expected 200, got {line:?}");
    }
    let mut length = None;
    let mut chunked = false;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = Some(value.trim().parse::<u64>()?);
        }
        chunked |= lower.starts_with("transfer-encoding: chunked");
        if line == "\r\n" {
            break;
        }
    }
    match length {
        Some(length) => {
            std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
        }
        None if chunked => read_chunks(reader)?,
        None => bail!("the response has no length"),
    }
    Ok(())
}

fn read_chunks(reader: &mut BufReader<TcpStream>) -> anyhow::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).context("a chunk's size")?;
        std::io::copy(&mut reader.take(size + 2), &mut std::io::sink())?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// Waits until a request at the address is answered; gives the time that it took.
pub(crate) fn first_answer(address: SocketAddr, path: &str, limit: Duration) -> anyhow::Result<Duration> {
    let began = Instant::now();
    loop {
        if latencies(address, path, 1).is_ok() {
            return Ok(began.elapsed());
        }
        if began.elapsed() > limit {
            bail!("no answer from {address} within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Answers a second that `wrk` counts with so many connections for so many seconds.
pub(crate) fn throughput(
    url: &str,
    connections: usize,
    seconds: u64,
    script: Option<&str>,
) -> anyhow::Result<f64> {
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s")]);
    let file = script.map(write_script).transpose()?;
    if let Some(file) = &file {
        command.arg("-s").arg(file.path());
    }
    let output = command
        .arg(url)
        .output()
        .context("wrk can't be run; `scripts/setup bench` installs it")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(bad) = text.lines().find(|line| line.contains("Non-2xx")) {
        bail!("wrk at {url}: {}", bad.trim());
    }
    let line = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    line.and_then(|value| value.trim().parse().ok())
        .with_context(|| format!("wrk at {url} said: {text}"))
}

fn write_script(text: &str) -> anyhow::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().suffix(".lua").tempfile()?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

/// The median; the values are put in order.
pub(crate) fn median<T: PartialOrd + Copy>(values: &mut [T]) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).expect("no figure is NaN"));
    values[values.len() / 2]
}
