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
//! - `calls`: every system call with arguments that mean nothing, and whether the kernel says EPERM or ENOSYS (x86-64)
//! - `connect ADDRESS`: one TCP connection, prints what it reads until the end
//! - `http`: serves on `PORT` of every address (`--port N`, `--listen ADDRESS`, `--delay MILLISECONDS` before it
//!   listens, `--once` to exit after one answer, `--then-exit` to exit at the first connection without an answer)
//!
//! Paths of `http`: `/` and everything else answers `PATH` and the request's headers; `/echo` the request's body;
//! `/status/N`; `/env`; `/pid`; `/count` (requests so far); `/stderr/TEXT`; `/stdout/TEXT`; `/bytes/N`;
//! `/slow/MILLISECONDS`; `/chunks/N` (N chunks, 50 ms apart); `/sse/N`; `/cut` (half a body, then closes);
//! `/garbage` (no HTTP); `/trailers`; `/ws` (WebSocket echo); `/exit/CODE`; `/fetch/HOST:PORT/PATH`; `/hang`.

mod http;
mod websocket;

use std::collections::BTreeMap;
use std::env;
use std::io::{self, Write};
use std::net::TcpStream;
use std::process::{Command, exit};
use std::thread;
use std::time::Duration;

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
        "http" => http::serve(rest),
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
    const ENOSYS: isize = -38;
    let mut found = String::new();
    for number in (0..470).filter(|number| !LEFT_OUT.contains(number)) {
        let answer = match call(number) {
            EPERM => "EPERM",
            ENOSYS => "ENOSYS",
            _ => "goes on",
        };
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
