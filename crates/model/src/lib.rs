//! The words of Skep as types: functions and the templates that define them, invocations and their records,
//! instances, phases, problems. It owns what a label means and what makes a definition valid; it never does
//! I/O, never reads a clock by itself and knows neither Docker's client nor HTTP servers.

pub mod copied;
pub mod function;
pub mod id;
pub mod invocation;
pub mod journal;
pub mod label;
pub mod log;
pub mod name;
pub mod problem;
pub mod route;
pub mod settings;
pub mod spawn;
pub mod template;

pub use copied::{Copied, CopiedPart};
pub use function::{Function, Invalid, Revision};
pub use id::{InstanceId, InvocationId};
pub use invocation::{Ending, EndingKind, Phase, Phases, Record, Status, Trigger};
pub use journal::{Journal, LogEntry};
pub use log::{LogLine, LogStream};
pub use name::{FunctionName, NameError, Namespace};
pub use problem::{Problem, ProblemCode};
pub use route::Route;
pub use settings::{EngineChoice, Handler, PortChoice, Protocol, Ready, Recycle, SandboxChoice, Settings};
pub use spawn::{PortRange, Spawn};
pub use template::{Template, TemplateId};
