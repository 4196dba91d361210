//! `POST /containers/ID/exec` and `POST /exec/ID/start`.

use serde_json::{Value, json};

use crate::fields::Fields;
use crate::host::console_size;
use crate::json::Json;
use crate::refusal::Refusal;
use crate::tables;

/// A process to run in a child.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecCreate {
    /// The user that it runs as; empty for the child's own.
    pub user: String,
    command: Vec<String>,
    environment: Vec<String>,
    directory: String,
    detach_keys: String,
    tty: bool,
    attach: [bool; 3],
    console: Option<[i64; 2]>,
}

impl ExecCreate {
    /// Reads a body.
    ///
    /// # Errors
    /// What it says that is not granted.
    pub fn parse(body: Json) -> Result<Self, Refusal> {
        let mut body = Fields::of("", body)?;
        // docker-py repeats the container here, the CLI what it does next.
        body.text("Container")?;
        body.flag("Detach")?;
        let console = body.list("ConsoleSize")?;
        // docker-py writes it small.
        let (detach_keys, small) = (body.text("DetachKeys")?, body.text("detachKeys")?);
        if !detach_keys.is_empty() && !small.is_empty() {
            return Err(Refusal::malformed("DetachKeys is there in two spellings"));
        }
        let exec = Self {
            user: body.text("User")?,
            command: body.command("Cmd")?.unwrap_or_default(),
            environment: body.texts("Env")?,
            directory: body.text("WorkingDir")?,
            detach_keys: if small.is_empty() { detach_keys } else { small },
            tty: body.flag("Tty")?,
            attach: [
                body.flag("AttachStdin")?,
                body.flag("AttachStdout")?,
                body.flag("AttachStderr")?,
            ],
            console: console_size(&console, "ConsoleSize")?,
        };
        body.neutral(tables::EXEC)?;
        body.finish()?;
        Ok(exec)
    }

    /// The body for the daemon.
    pub fn body(&self) -> Value {
        let mut out = json!({
            "Cmd": self.command, "Env": self.environment, "WorkingDir": self.directory, "User": self.user,
            "DetachKeys": self.detach_keys, "Tty": self.tty, "Privileged": false,
            "AttachStdin": self.attach[0], "AttachStdout": self.attach[1], "AttachStderr": self.attach[2],
        });
        if let (Some(size), Some(out)) = (self.console, out.as_object_mut()) {
            out.insert("ConsoleSize".to_owned(), json!(size));
        }
        out
    }
}

/// How such a process is started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecStart {
    detach: bool,
    tty: bool,
    console: Option<[i64; 2]>,
}

impl ExecStart {
    /// Reads a body.
    ///
    /// # Errors
    /// What it says that is not known.
    pub fn parse(body: Json) -> Result<Self, Refusal> {
        let mut body = Fields::of("", body)?;
        // dockerode sends its own options along.
        for own in ["hijack", "stdin", "stream"] {
            body.flag(own)?;
        }
        let console = body.list("ConsoleSize")?;
        let start = Self {
            detach: body.flag("Detach")?,
            tty: body.flag("Tty")?,
            console: console_size(&console, "ConsoleSize")?,
        };
        body.finish()?;
        Ok(start)
    }

    /// Whether nobody waits for what it says.
    pub fn detach(&self) -> bool {
        self.detach
    }

    /// Whether its output comes as it is; else each piece says of which stream it is.
    pub fn tty(&self) -> bool {
        self.tty
    }

    /// Rows and columns of its terminal.
    pub fn console(&self) -> Option<(u16, u16)> {
        let [rows, columns] = self.console?;
        Some((u16::try_from(rows).ok()?, u16::try_from(columns).ok()?))
    }

    /// The body for the daemon.
    pub fn body(&self) -> Value {
        let mut out = json!({ "Detach": self.detach, "Tty": self.tty });
        if let (Some(size), Some(out)) = (self.console, out.as_object_mut()) {
            out.insert("ConsoleSize".to_owned(), json!(size));
        }
        out
    }
}
