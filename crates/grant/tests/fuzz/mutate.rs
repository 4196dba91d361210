//! Changes to bytes, from flipping one to putting a field where none was.

use serde_json::Value;

/// Names of fields, right and wrong, and pieces of what goes around checks.
const WORDS: &[&str] = &[
    "Privileged",
    "privileged",
    "PRIVILEGED",
    "CapAdd",
    "Binds",
    "binds",
    "Mounts",
    "Devices",
    "SecurityOpt",
    "NetworkMode",
    "PidMode",
    "IpcMode",
    "UTSMode",
    "UsernsMode",
    "CgroupParent",
    "Runtime",
    "Sysctls",
    "VolumesFrom",
    "MaskedPaths",
    "ReadonlyPaths",
    "HostConfig",
    "hostConfig",
    "NetworkingConfig",
    "EndpointsConfig",
    "Aliases",
    "IPAMConfig",
    "Labels",
    "VolumeOptions",
    "DriverConfig",
    "Options",
    "BindOptions",
    "Propagation",
    "Image",
    "Cmd",
    "Env",
    "User",
    "Tmpfs",
    "PortBindings",
    "HostPort",
    "PublishAllPorts",
    "Ulimits",
    "RestartPolicy",
    "LogConfig",
    "Config",
    "Memory",
    "MemorySwap",
    "NanoCpus",
    "CpuQuota",
    "PidsLimit",
    "OomScoreAdj",
    "ShmSize",
    "StorageOpt",
    "Annotations",
    "Init",
    "Container",
    "EndpointConfig",
    "Force",
    "Detach",
    "Tty",
    "ConsoleSize",
    "Extra",
    "skep.owner",
    "SKEP.owner",
    "com.docker.x",
    "\0",
    "Memory\u{17f}",
    "Bind\u{17f}",
    "Tas\u{212a}",
];
/// Values that mean something to some field.
const VALUES: &[&str] = &[
    "true",
    "false",
    "null",
    "0",
    "-1",
    "1",
    "9223372036854775807",
    "9223372036854775808",
    "1e3",
    "-0",
    "[]",
    "{}",
    "\"\"",
    "\"host\"",
    "\"/:/host\"",
    "\"data:/d\"",
    "\"data:/d:ro,shared\"",
    "\"../x:/y\"",
    "[\"/:/host\"]",
    "[\"ALL\"]",
    "\"container:x\"",
    "\"/var/run/docker.sock:/var/run/docker.sock\"",
    "\"8080\"",
    "\"80/tcp\"",
    "[null]",
    "[[]]",
    "{\"\":{}}",
    "{\"a\":\"b\"}",
    "{\"skep.owner\":\"x\"}",
    "\"bind\"",
    "\"volume\"",
];
/// Pieces of a first line.
const PIECES: &[&str] = &[
    "/",
    "//",
    "..",
    "/./",
    "%2e%2e",
    "%2F",
    "%00",
    "?",
    "&",
    "=",
    "+",
    "#",
    "v1.41",
    "v9.9",
    "HEAD ",
    "DELETE ",
    "update",
    "containers",
    "create",
    "exec",
    "archive",
    "filters=",
    "name=",
    "all=1",
    "\u{7f}",
    "é",
    "\\",
    ";",
    "Privi\\u006ceged",
    "\\u0000",
];

/// Makes new inputs out of old ones.
pub(crate) struct Mutator {
    state: u64,
}

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A random number (splitmix64).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.random() % bound.max(1) as u64) as usize
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    /// One more input, out of one of those that there are.
    pub(crate) fn next(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(4) {
            bytes = self.changed(bytes, inputs);
        }
        bytes.truncate(16 << 10);
        bytes
    }

    fn changed(&mut self, mut bytes: Vec<u8>, inputs: &[Vec<u8>]) -> Vec<u8> {
        let at = self.below(bytes.len() + 1);
        let length = self.below(32).min(bytes.len().saturating_sub(at));
        match self.below(10) {
            0 if at < bytes.len() => bytes[at] = self.random() as u8,
            1 if at < bytes.len() && bytes[at].is_ascii_alphabetic() => bytes[at] ^= 0x20,
            2 => drop(bytes.drain(at..at + length)),
            3 => {
                let piece = bytes[at..at + length].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            4 => {
                let other = &inputs[self.below(inputs.len())];
                let from = self.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            5 => drop(bytes.splice(at..at, self.pick(PIECES).bytes())),
            6 => {
                let value = self.pick(VALUES);
                drop(bytes.splice(at..at + length, value.bytes()));
            }
            _ => return self.with_a_field(bytes),
        }
        bytes
    }

    /// Puts a field somewhere into JSON, where it is JSON.
    fn with_a_field(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let Ok(mut value) = serde_json::from_slice::<Value>(&bytes) else {
            return bytes;
        };
        let name = self.pick(WORDS);
        let field = serde_json::from_str(self.pick(VALUES)).unwrap_or(Value::Null);
        let mut place = &mut value;
        // Down a random way.
        for _ in 0..self.below(5) {
            let size = match &*place {
                Value::Object(fields) => fields.len(),
                Value::Array(items) => items.len(),
                _ => 0,
            };
            if size == 0 {
                break;
            }
            let index = self.below(size);
            let down = match place {
                Value::Object(fields) => fields.values_mut().nth(index),
                Value::Array(items) => items.get_mut(index),
                _ => None,
            };
            let Some(down) = down else { return bytes };
            place = down;
        }
        match place {
            Value::Object(fields) => drop(fields.insert(name.to_owned(), field)),
            Value::Array(items) => items.push(field),
            other => *other = field,
        }
        value.to_string().into_bytes()
    }
}
