//! `http`: a server, good or bad by its paths.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::websocket::websocket;
use crate::{environment, flood};

static REQUESTS: AtomicU64 = AtomicU64::new(0);

pub fn serve(arguments: &[String]) -> io::Result<()> {
    let option = |name: &str| arguments.iter().position(|word| word == name).and_then(|at| arguments.get(at + 1));
    let has = |name: &str| arguments.iter().any(|word| word == name);
    let port = option("--port").cloned().or_else(|| env::var("PORT").ok()).unwrap_or_else(|| "8080".to_owned());
    if let Some(delay) = option("--delay").and_then(|text| text.parse().ok()) {
        thread::sleep(Duration::from_millis(delay));
    }
    let address = option("--listen").map_or("0.0.0.0", String::as_str);
    let both = if address == "0.0.0.0" { TcpListener::bind(format!("[::]:{port}")) } else { Err(io::ErrorKind::Other.into()) };
    let listener = both.or_else(|_| TcpListener::bind(format!("{address}:{port}")))?;
    println!("listening on {port}");
    for stream in listener.incoming() {
        let stream = stream?;
        if has("--then-exit") {
            exit(3);
        }
        if has("--once") {
            // A failed connection must not keep it alive.
            drop(converse(stream, true));
            return Ok(());
        }
        thread::spawn(move || converse(stream, false));
    }
    Ok(())
}

pub struct Request {
    method: String,
    path: String,
    head: String,
    pub headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

fn converse(stream: TcpStream, once: bool) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader, &mut writer)? {
        REQUESTS.fetch_add(1, Ordering::SeqCst);
        let keep = answer(&request, &mut reader, &mut writer)?;
        if once || !keep {
            return Ok(());
        }
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead, writer: &mut impl Write) -> io::Result<Option<Request>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut words = first.split_whitespace();
    let (method, path) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
    let (mut head, mut headers) = (first.clone(), BTreeMap::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        head.push_str(&line);
    }
    if headers.get("expect").is_some_and(|value| value == "100-continue") {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|value| value == "chunked") {
        while let Some(chunk) = read_chunk(reader)? {
            body.extend(chunk);
        }
    } else if let Some(length) = headers.get("content-length").and_then(|text| text.parse().ok()) {
        reader.take(length).read_to_end(&mut body)?;
    }
    Ok(Some(Request { method, path, head, headers, body }))
}

fn read_chunk(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let length = u64::from_str_radix(line.trim_end().split(';').next().unwrap_or(""), 16).map_err(io::Error::other)?;
    let mut chunk = Vec::new();
    reader.take(length).read_to_end(&mut chunk)?;
    // The end of the chunk; after the last one, the trailers up to an empty line.
    loop {
        let mut end = String::new();
        reader.read_line(&mut end)?;
        if length > 0 || end.trim_end().is_empty() {
            break;
        }
    }
    Ok((length > 0).then_some(chunk))
}

fn plain(writer: &mut impl Write, request: &Request, status: &str, body: &[u8]) -> io::Result<bool> {
    write!(writer, "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len())?;
    if request.method != "HEAD" {
        writer.write_all(body)?;
    }
    writer.flush()?;
    Ok(request.headers.get("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close")))
}

fn answer(request: &Request, reader: &mut impl BufRead, writer: &mut impl Write) -> io::Result<bool> {
    let path = request.path.split('?').next().unwrap_or("").trim_start_matches('/');
    let (word, rest) = path.split_once('/').unwrap_or((path, ""));
    let number: u64 = rest.parse().unwrap_or(10);
    match word {
        "echo" => return plain(writer, request, "200 OK", &request.body),
        "status" => return plain(writer, request, &format!("{number} As asked"), b"as asked\n"),
        "env" => return plain(writer, request, "200 OK", environment().as_bytes()),
        "pid" => return plain(writer, request, "200 OK", format!("{}\n", std::process::id()).as_bytes()),
        "count" => {
            let count = REQUESTS.load(Ordering::SeqCst);
            return plain(writer, request, "200 OK", format!("{count}\n").as_bytes());
        }
        "stderr" => {
            eprintln!("{rest}");
            return plain(writer, request, "200 OK", b"written\n");
        }
        "stdout" => {
            println!("{rest}");
            return plain(writer, request, "200 OK", b"written\n");
        }
        "slow" => {
            thread::sleep(Duration::from_millis(number));
            return plain(writer, request, "200 OK", b"slow\n");
        }
        "exit" => exit(number as i32),
        "hang" => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        "fetch" => return plain(writer, request, "200 OK", &fetch(rest)),
        "bytes" => {
            write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {number}\r\n\r\n")?;
            flood(writer, number)?;
            return Ok(true);
        }
        "chunks" | "sse" => stream(writer, word == "sse", number)?,
        "cut" => writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf a body")?,
        "garbage" => writer.write_all(b"this is not HTTP\r\n\r\n")?,
        "trailers" => writer.write_all(
            b"HTTP/1.1 200 OK\r\nTrailer: X-After\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-After: yes\r\n\r\n",
        )?,
        "ws" => websocket(request, reader, writer)?,
        _ => {
            let text = format!("{}\n{}", request.path, request.head);
            return plain(writer, request, "200 OK", text.as_bytes());
        }
    }
    writer.flush()?;
    Ok(word == "trailers")
}

fn stream(writer: &mut impl Write, events: bool, count: u64) -> io::Result<()> {
    let kind = if events { "text/event-stream" } else { "text/plain" };
    write!(writer, "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")?;
    for index in 0..count {
        let text = if events { format!("data: {index}\n\n") } else { format!("chunk {index}\n") };
        write!(writer, "{:x}\r\n{text}\r\n", text.len())?;
        writer.flush()?;
        thread::sleep(Duration::from_millis(50));
    }
    writer.write_all(b"0\r\n\r\n")
}

fn fetch(target: &str) -> Vec<u8> {
    let (host, path) = target.split_once('/').unwrap_or((target, ""));
    let ask = || -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(host)?;
        let mut extra = String::new();
        if let Ok(parent) = env::var("TRACEPARENT") {
            extra = format!("traceparent: {parent}\r\n");
        }
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\n{extra}Connection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    ask().unwrap_or_else(|error| format!("fetch: {error}\n").into_bytes())
}
