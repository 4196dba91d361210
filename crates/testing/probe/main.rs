//! The probe: one static program that plays every kind of function, good and bad. It uses nothing but the standard
//! library, and never resolves a host name (a static glibc can't). Its first argument is the mode:
//!
//! - `cat`: standard input to standard output; `wc`: reads standard input to its end, prints how many bytes
//! - `echo TEXT…`, `err TEXT…` (to standard error), `exit CODE`, `env`, `hostname`, `user`, `ls PATH`, `read PATH`,
//!   `write PATH TEXT`
//! - `flood-stdout BYTES`, `flood-stderr BYTES`: lines of 79 characters
//! - `both N`: N numbered lines, by turns to standard output and error
//! - `sleep SECONDS`, `ignore-term` (as PID 1 it has no handler, so the kernel drops SIGTERM), `signal` (aborts)
//! - `memory MIB`: allocates and touches; `swarm N`: N children that sleep, then exits
//! - `calls`: every system call with arguments that mean nothing, and whether the kernel says EPERM (x86-64)
//! - `connect ADDRESS`: one TCP connection, prints what it reads until the end
//! - `http`: serves on `PORT` of every address (`--port N`, `--listen ADDRESS`, `--delay MILLISECONDS` before it
//!   listens, `--once` to exit after one answer, `--then-exit` to exit at the first connection without an answer)
//!
//! Paths of `http`: `/` and everything else answers `PATH` and the request's headers; `/echo` the request's body;
//! `/status/N`; `/env`; `/pid`; `/count` (requests so far); `/stderr/TEXT`; `/stdout/TEXT`; `/bytes/N`;
//! `/slow/MILLISECONDS`; `/chunks/N` (N chunks, 50 ms apart); `/sse/N`; `/cut` (half a body, then closes);
//! `/garbage` (no HTTP); `/trailers`; `/ws` (WebSocket echo); `/exit/CODE`; `/fetch/HOST:PORT/PATH`; `/hang`.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, exit};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

static REQUESTS: AtomicU64 = AtomicU64::new(0);

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let mode = arguments.first().map_or("env", String::as_str);
    let rest = arguments.get(1..).unwrap_or(&[]);
    let number = |default: u64| rest.first().and_then(|text| text.parse().ok()).unwrap_or(default);
    let outcome = match mode {
        "cat" => io::copy(&mut io::stdin(), &mut io::stdout()).map(drop),
        "wc" => io::copy(&mut io::stdin(), &mut io::sink()).map(|bytes| println!("{bytes}")),
        "echo" => writeln!(io::stdout(), "{}", rest.join(" ")),
        "err" => writeln!(io::stderr(), "{}", rest.join(" ")),
        "exit" => exit(number(1) as i32),
        "env" => write!(io::stdout(), "{}", environment()),
        "hostname" => print_file("/proc/sys/kernel/hostname"),
        "user" => print_file("/proc/self/status"),
        "ls" => list(&rest[0]),
        "read" => print_file(&rest[0]),
        "write" => std::fs::write(&rest[0], rest[1..].join(" ")),
        "flood-stdout" => flood(&mut io::stdout(), number(1 << 20)),
        "flood-stderr" => flood(&mut io::stderr(), number(1 << 20)),
        "both" => both(number(10)),
        "sleep" => {
            thread::sleep(Duration::from_secs(number(3600)));
            Ok(())
        }
        "ignore-term" => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        "signal" => std::process::abort(),
        "memory" => memory(number(64)),
        "swarm" => swarm(number(20)),
        "calls" => calls(),
        "connect" => TcpStream::connect(rest[0].as_str())
            .and_then(|mut stream| io::copy(&mut stream, &mut io::stdout()).map(drop)),
        "http" => http(rest),
        other => {
            eprintln!("probe: no mode {other}");
            exit(64);
        }
    };
    if let Err(error) = outcome.and_then(|()| io::stdout().flush()) {
        eprintln!("probe {mode}: {error}");
        exit(1);
    }
}

/// Not tried: those that end, stop or copy this process, or that take long: pause, rt_sigreturn, fork, vfork, exit,
/// vhangup, sync, exit_group; and the two by which a tracer of the kernel is returned from.
const LEFT_OUT: [usize; 10] = [34, 15, 57, 58, 60, 153, 162, 231, 335, 336];

fn calls() -> io::Result<()> {
    const EPERM: isize = -1;
    let mut found = String::new();
    for number in (0..470).filter(|number| !LEFT_OUT.contains(number)) {
        let answer = if call(number) == EPERM { "EPERM" } else { "goes on" };
        found.push_str(&format!("{number} {answer}\n"));
    }
    io::stdout().write_all(found.as_bytes())
}

fn call(number: usize) -> isize {
    let answer: isize;
    // SAFETY: every argument is an address or a number that no call accepts, so that none reads or writes memory here.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") number as isize => answer, in("rdi") -1_isize, in("rsi") -1_isize,
            in("rdx") -1_isize, in("r10") -1_isize, in("r8") -1_isize, in("r9") -1_isize,
            lateout("rcx") _, lateout("r11") _);
    }
    answer
}

fn environment() -> String {
    env::vars().collect::<BTreeMap<_, _>>().iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

fn print_file(path: &str) -> io::Result<()> {
    io::stdout().write_all(&std::fs::read(path)?)
}

fn list(path: &str) -> io::Result<()> {
    let mut names: Vec<_> = std::fs::read_dir(path)?.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    names.iter().try_for_each(|name| writeln!(io::stdout(), "{}", name.to_string_lossy()))
}

fn flood(to: &mut dyn Write, bytes: u64) -> io::Result<()> {
    let line = [&[b'x'; 79][..], b"\n"].concat().repeat(100);
    let mut left = bytes;
    while left > 0 {
        let piece = line.len().min(left as usize);
        to.write_all(&line[..piece])?;
        left -= piece as u64;
    }
    Ok(())
}

fn both(lines: u64) -> io::Result<()> {
    for line in 0..lines {
        writeln!(io::stdout(), "out {line}")?;
        writeln!(io::stderr(), "err {line}")?;
    }
    Ok(())
}

fn memory(mebibytes: u64) -> io::Result<()> {
    let mut held = Vec::new();
    for _ in 0..mebibytes {
        held.push(vec![1_u8; 1 << 20]);
    }
    writeln!(io::stdout(), "{}", held.iter().map(Vec::len).sum::<usize>())
}

fn swarm(children: u64) -> io::Result<()> {
    for _ in 0..children {
        Command::new("/probe").args(["sleep", "3600"]).spawn()?;
    }
    writeln!(io::stdout(), "{children} children")
}

fn http(arguments: &[String]) -> io::Result<()> {
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
            drop(serve(stream, true));
            return Ok(());
        }
        thread::spawn(move || serve(stream, false));
    }
    Ok(())
}

struct Request {
    method: String,
    path: String,
    head: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

fn serve(stream: TcpStream, once: bool) -> io::Result<()> {
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

/// RFC 6455: the handshake, then every data frame comes back as it was sent, until one says close.
fn websocket(request: &Request, reader: &mut impl BufRead, writer: &mut impl Write) -> io::Result<()> {
    let key = request.headers.get("sec-websocket-key").map_or("", String::as_str);
    let accept = base64(&sha1(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes()));
    write!(
        writer,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    writer.flush()?;
    loop {
        let mut head = [0; 2];
        if reader.read_exact(&mut head).is_err() {
            return Ok(());
        }
        let length = match head[1] & 0x7f {
            126 => {
                let mut wide = [0; 2];
                reader.read_exact(&mut wide)?;
                u64::from(u16::from_be_bytes(wide))
            }
            127 => {
                let mut wide = [0; 8];
                reader.read_exact(&mut wide)?;
                u64::from_be_bytes(wide)
            }
            short => u64::from(short),
        };
        let mut mask = [0; 4];
        if head[1] & 0x80 != 0 {
            reader.read_exact(&mut mask)?;
        }
        let mut payload = Vec::new();
        reader.take(length).read_to_end(&mut payload)?;
        payload.iter_mut().enumerate().for_each(|(at, byte)| *byte ^= mask[at % 4]);
        writer.write_all(&head[..1])?;
        match payload.len() {
            short @ 0..126 => writer.write_all(&[short as u8])?,
            middle @ 126..65536 => {
                writer.write_all(&[126])?;
                writer.write_all(&(middle as u16).to_be_bytes())?;
            }
            long => {
                writer.write_all(&[127])?;
                writer.write_all(&(long as u64).to_be_bytes())?;
            }
        }
        writer.write_all(&payload)?;
        writer.flush()?;
        if head[0] & 0x0f == 8 {
            return Ok(());
        }
    }
}

/// FIPS 180-4, section 6.1.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((message.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks(64) {
        let mut words = [0_u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks(4)) {
            *word = u32::from_be_bytes(bytes.try_into().expect("four bytes"));
        }
        for at in 16..80 {
            words[at] = (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.iter().enumerate() {
            let (mixed, constant) = match at / 20 {
                0 => ((b & c) | (!b & d), 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e).wrapping_add(constant).wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (word, added) in state.iter_mut().zip([a, b, c, d, e]) {
            *word = word.wrapping_add(added);
        }
    }
    let mut digest = [0; 20];
    digest.chunks_mut(4).zip(state).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_be_bytes()));
    digest
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().chain([&0, &0]).take(3).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        for place in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}
