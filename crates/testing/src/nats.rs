//! A NATS server of a test's own: the real program, with its data in a folder that goes with the test.

use std::fs::File;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{PAUSE, within};

/// Far more than a server takes to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server with JetStream, which syncs every write. It ends with the test.
#[derive(Debug)]
pub struct Nats {
    directory: tempfile::TempDir,
    port: u16,
    server: Child,
}

impl Nats {
    /// Starts one.
    ///
    /// # Panics
    /// When there is no `nats-server` (`scripts/setup test` gets it), or it does not start.
    pub fn start() -> Self {
        // Another may take the port in between: then the server ends at once, and another port is tried.
        for _ in 0..10 {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = listener.local_addr().expect("its address").port();
            drop(listener);
            let directory = tempfile::tempdir().expect("a folder for the server's data");
            let store = directory.path().join("data");
            let text = format!(
                "listen: 127.0.0.1:{port}\njetstream {{ store_dir: {store:?}, sync_interval: always }}\n"
            );
            std::fs::write(directory.path().join("nats.conf"), text).expect("the server's configuration");
            let server = spawn(directory.path());
            let mut nats = Self {
                directory,
                port,
                server,
            };
            if nats.answers() {
                return nats;
            }
        }
        panic!("no nats-server could be started");
    }

    /// The server's address.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Kills it, as a power cut of its process would.
    ///
    /// # Panics
    /// When it had ended before.
    pub fn kill(&mut self) {
        self.server.kill().expect("the server runs");
        self.server.wait().expect("its end");
    }

    /// Starts it again on the same data and port.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.server = spawn(self.directory.path());
        assert!(self.answers(), "nats-server did not start again");
    }

    /// Waits until it answers; `false` where it ended instead.
    fn answers(&mut self) -> bool {
        let answers = within(PATIENCE, PAUSE, || {
            if !matches!(self.server.try_wait(), Ok(None)) {
                return Some(false);
            }
            // It greets whoever connects, and not before it is ready.
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
                let mut greeting = [0; 4];
                if stream.read_exact(&mut greeting).is_ok() && &greeting == b"INFO" {
                    return Some(true);
                }
            }
            None
        });
        answers.expect("nats-server does not answer")
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        // It may have been killed.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn spawn(directory: &Path) -> Child {
    let log = File::create(directory.join("nats.log")).expect("the server's log");
    let server = Command::new(program())
        .arg("-c")
        .arg(directory.join("nats.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    server.expect("nats-server: `scripts/setup test` gets it")
}

/// What set-up has put beside the other tools, or the system's own.
fn program() -> PathBuf {
    let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/bin/nats-server");
    let tools = PathBuf::from(tools);
    if tools.exists() {
        tools
    } else {
        PathBuf::from("nats-server")
    }
}
