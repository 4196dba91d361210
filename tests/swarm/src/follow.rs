//! A command of Skep's that goes on, beside a gateway.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::Cluster;

/// It runs until this is dropped.
#[derive(Debug)]
pub struct Followed {
    process: Mutex<Child>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Cluster {
    /// The command of Skep beside a node's gateway, read as it writes.
    ///
    /// # Panics
    /// When there is no gateway.
    pub fn follow(&self, node: u32, arguments: &[&str]) -> Followed {
        let gateway = self.gateway(node).expect("a gateway");
        let mut process = Command::new("docker")
            .args(["exec", &gateway, "skep"])
            .args(arguments)
            .env("DOCKER_HOST", self.host(node))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the docker command");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let read = lines.clone();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                read.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Followed {
            process: Mutex::new(process),
            lines,
        }
    }
}

impl Followed {
    /// What it wrote so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it has not ended.
    ///
    /// # Panics
    /// When that can't be told.
    pub fn goes_on(&self) -> bool {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.try_wait().expect("its state").is_none()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap_or_else(PoisonError::into_inner);
        // It may have ended.
        drop(process.kill());
        drop(process.wait());
    }
}
