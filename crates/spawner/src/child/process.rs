//! The last steps: streams, limits, rights given up, and the exec.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;

use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

use super::identity::{self, Resolved};
use super::{Step, failure, terminal};
use crate::spec::{Limit, Process};
use crate::wire::{Failure, Streams, TerminalSize};

/// The capability after the last one that any kernel knows today; an unknown one answers `EINVAL`.
const CAPABILITIES: u32 = 64;

/// Becomes the process; `more` goes over its environment. With a terminal, of this size, `true` says that it is the
/// instance's own.
pub(super) fn execute(
    process: &Process,
    more: &[String],
    streams: &Streams,
    terminal: Option<(TerminalSize, bool)>,
) -> Result<Infallible, Failure> {
    let identity = settle(process)?;
    finish(process, &identity, more, streams, terminal)
}

/// All that no request changes and that leaves this process its rights.
pub(super) fn settle(process: &Process) -> Result<Resolved, Failure> {
    let identity = identity::resolve(&process.identity)?;
    rustix::process::setsid().step("make a session")?;
    adjust_oom_score(process)?;
    if let Some(profile) = &process.apparmor {
        let text = format!("exec {profile}");
        let written = fs::write("/proc/thread-self/attr/apparmor/exec", &text);
        written
            .or_else(|_| fs::write("/proc/thread-self/attr/exec", &text))
            .step("set the AppArmor profile")?;
    }
    if !process.domain.is_empty() {
        rustix::system::setdomainname(process.domain.as_bytes()).step("set the domain name")?;
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    Ok(identity)
}

/// The rest: its limits, which this process itself must not meet before, its streams, its rights and its program.
pub(super) fn finish(
    process: &Process,
    identity: &Resolved,
    more: &[String],
    streams: &Streams,
    terminal: Option<(TerminalSize, bool)>,
) -> Result<Infallible, Failure> {
    let directory = directory(&process.directory);
    set_usual_limits(&process.usual_limits);
    set_limits(&process.limits)?;
    let environment = environment(process, more, identity);
    match terminal {
        Some((size, is_console)) => terminal::take(&streams.stdin, size, is_console, identity.user)?,
        None => take_streams(streams, identity)?,
    }
    skep_sys::close_on_execute_from(3).step("close what is open")?;
    // A folder that only root may enter is entered by root, one that only the user may (on NFS, say) by the user.
    let entered = enter_directory(directory).is_ok();
    give_up_rights(process, identity)?;
    // Should the spawner be killed and nobody be there to clear up. A change of user would have undone it before.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .step("tie its life to the spawner's")?;
    if !entered {
        enter_directory(directory).template(|| format!("enter the working directory {directory}"))?;
    }
    Err(become_program(&process.arguments, &environment))
}

fn directory(asked: &str) -> &str {
    if asked.is_empty() { "/" } else { asked }
}

/// Goes into the working directory, which must be inside: `/proc/self/fd` has links to all that is still open here, the
/// host's folders among them.
fn enter_directory(directory: &str) -> io::Result<()> {
    rustix::process::chdir(directory)?;
    // Of a folder that can't be reached from the root the kernel gives no path that begins there.
    let path = rustix::process::getcwd(Vec::new())?;
    if path.to_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(rustix::io::Errno::NOENT.into())
    }
}

fn adjust_oom_score(process: &Process) -> Result<(), Failure> {
    let adjustment = process.oom_score_adjustment.to_string();
    fs::write("/proc/self/oom_score_adj", adjustment).step("set oom_score_adj")
}

fn set_usual_limits(limits: &[Limit]) {
    for limit in limits {
        let Some(resource) = resource(&limit.resource) else {
            continue;
        };
        let new = Rlimit {
            current: limit.soft,
            maximum: limit.hard,
        };
        if rustix::process::setrlimit(resource, new).is_err() {
            // Above our own hard limit, and we may not raise that.
            let own = rustix::process::getrlimit(resource);
            let at_most = |bound: Option<u64>| match (bound, own.maximum) {
                (Some(bound), Some(most)) => Some(bound.min(most)),
                (bound, most) => bound.or(most),
            };
            let possible = Rlimit {
                current: at_most(limit.soft),
                maximum: own.maximum,
            };
            let _kept = rustix::process::setrlimit(resource, possible);
        }
    }
}

fn set_limits(limits: &[Limit]) -> Result<(), Failure> {
    for limit in limits {
        let what = || format!("set the limit {}", limit.resource);
        let unknown = || failure(rustix::io::Errno::INVAL.into(), what(), true);
        let resource = resource(&limit.resource).ok_or_else(unknown)?;
        let new = Rlimit {
            current: limit.soft,
            maximum: limit.hard,
        };
        rustix::process::setrlimit(resource, new).template(what)?;
    }
    Ok(())
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}

/// The spec's variables with the launch's over them, each name once, and `HOME` where nobody gave it a value.
fn environment(process: &Process, more: &[String], identity: &Resolved) -> Vec<String> {
    let mut all: Vec<String> = Vec::with_capacity(process.environment.len() + more.len() + 1);
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    for variable in process.environment.iter().chain(more) {
        let wanted = name(variable);
        match all.iter_mut().find(|known| name(known) == wanted) {
            Some(known) => known.clone_from(variable),
            None => all.push(variable.clone()),
        }
    }
    let home = all.iter_mut().find(|variable| variable.starts_with("HOME="));
    match home {
        Some(home) if home == "HOME=" => home.push_str(&identity.home),
        Some(_) => {}
        None => all.push(format!("HOME={}", identity.home)),
    }
    all
}

/// Puts the streams where a program expects them. They are given to its user, so that `/dev/stdout` can be opened.
fn take_streams(streams: &Streams, identity: &Resolved) -> Result<(), Failure> {
    let step = "take the standard streams";
    rustix::stdio::dup2_stdin(&streams.stdin).step(step)?;
    rustix::stdio::dup2_stdout(&streams.stdout).step(step)?;
    rustix::stdio::dup2_stderr(&streams.stderr).step(step)?;
    if identity.user != 0 {
        for stream in [&streams.stdin, &streams.stdout, &streams.stderr] {
            rustix::fs::fchown(stream, Some(rustix::fs::Uid::from_raw(identity.user)), None).step(step)?;
        }
    }
    Ok(())
}

/// Gives up, in the only order that works, all that the spec does not grant.
fn give_up_rights(process: &Process, identity: &Resolved) -> Result<(), Failure> {
    let granted = CapabilitySet::from_bits_retain(process.capabilities);
    for number in 0..CAPABILITIES {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if !granted.contains(capability) {
            match rustix::thread::remove_capability_from_bounding_set(capability) {
                Ok(()) => {}
                // Past the last capability that this kernel knows.
                Err(rustix::io::Errno::INVAL) => break,
                Err(error) => return Err(error).step("narrow the bounding set"),
            }
        }
    }
    rustix::thread::set_keep_capabilities(true).step("keep capabilities over the change of user")?;
    let groups: Vec<Gid> = identity
        .groups
        .iter()
        .map(|group| Gid::from_raw(*group))
        .collect();
    rustix::thread::set_thread_groups(&groups).step("set the groups")?;
    let (user, group) = (Uid::from_raw(identity.user), Gid::from_raw(identity.group));
    rustix::thread::set_thread_res_gid(group, group, group).step("set the group")?;
    // Without no_new_privs only one with CAP_SYS_ADMIN may load a program, so it comes before that is given up.
    if !process.no_new_privileges {
        load_seccomp(process)?;
    }
    rustix::thread::set_thread_res_uid(user, user, user).step("set the user")?;
    rustix::thread::set_keep_capabilities(false).step("end keeping capabilities")?;
    // As Docker: another user than root starts with none in effect, and what a file grants is bounded by the set.
    let in_effect = if identity.user == 0 {
        granted
    } else {
        CapabilitySet::empty()
    };
    let sets = CapabilitySets {
        effective: in_effect,
        permitted: in_effect,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets).step("set the capabilities")?;
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).step("set no_new_privs")?;
        load_seccomp(process)?;
    }
    Ok(())
}

fn load_seccomp(process: &Process) -> Result<(), Failure> {
    let Some(filters) = &process.seccomp else {
        return Ok(());
    };
    let program: Vec<skep_sys::Instruction> = filters
        .iter()
        .map(|filter| (filter.code, filter.jump_true, filter.jump_false, filter.k))
        .collect();
    skep_sys::load_seccomp(&program).step("load the seccomp program")
}

/// Looks the command up as a shell would, and becomes it.
fn become_program(arguments: &[String], environment: &[String]) -> Failure {
    let Some(command) = arguments.first().filter(|command| !command.is_empty()) else {
        return failure(
            rustix::io::Errno::INVAL.into(),
            "run the command: the template names none".to_owned(),
            true,
        );
    };
    let texts = |list: &[String]| {
        list.iter()
            .map(|text| CString::new(text.as_str()))
            .collect::<Result<Vec<_>, _>>()
    };
    let (Ok(argument_texts), Ok(environment_texts)) = (texts(arguments), texts(environment)) else {
        return failure(
            rustix::io::Errno::INVAL.into(),
            format!("run {command}: a zero byte in it"),
            true,
        );
    };
    let answer = match find(command, environment) {
        Ok(program) => match CString::new(program) {
            Ok(program) => skep_sys::execute(&program, &argument_texts, &environment_texts),
            Err(error) => error.into(),
        },
        Err(error) => error,
    };
    failure(answer, format!("run {command}"), true)
}

/// The program that a command means: with a slash that path, else the first of its name in a folder of `PATH`. One in
/// a folder that is named from the working directory is refused, as runc does.
fn find(command: &str, environment: &[String]) -> io::Result<String> {
    if command.contains('/') {
        return Ok(command.to_owned());
    }
    let path = environment
        .iter()
        .find_map(|variable| variable.strip_prefix("PATH="))
        .unwrap_or_default();
    let folders = path.split(':').filter(|_| !path.is_empty());
    let mut programs = folders.map(|folder| match folder {
        "" => format!("./{command}"),
        folder => format!("{folder}/{command}"),
    });
    let found = programs.find(|program| is_program(program));
    let found = found.ok_or(rustix::io::Errno::NOENT)?;
    if found.starts_with('/') {
        Ok(found)
    } else {
        Err(rustix::io::Errno::ACCESS.into())
    }
}

/// Whether somebody may run it.
fn is_program(path: &str) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_dir() && found.permissions().mode() & 0o111 != 0)
}
