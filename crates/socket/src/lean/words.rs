//! How Docker says that a command can't be run, in a child's own place or beside it.

use skep_lean::RunError;

/// Before all that went wrong when a container was started.
const CREATE: &str = "failed to create shim task: OCI runtime create failed: runc create failed:";
/// Before all that went wrong when a process was to join one.
const EXEC: &str = "OCI runtime exec failed: exec failed:";
/// What is added wherever a part of a path is no folder, whatever the path is for.
const NO_FOLDER: &str = ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified \
                         host path exists and is the expected type";

/// One refusal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// The answer's status.
    pub(super) status: u16,
    /// The exit code that is shown.
    pub(super) code: i64,
    pub(super) message: String,
}

/// Of a container that was to be started.
pub(super) fn of_start(command: &str, error: &RunError) -> Said {
    said(CREATE, command, error)
}

/// Of a process that was to join one that runs, unless it `runs` no more.
pub(super) fn of_exec(command: &str, error: &RunError, runs: bool, engine: &str) -> Said {
    let mut said = said(EXEC, command, error);
    if !runs && !error.own {
        said.status = 400;
        said.message = format!("{EXEC} cannot exec in a stopped container: unknown");
    }
    // Older engines tell no difference between what is not there and what can't be run.
    if !tells_codes(engine) {
        said.code = 126;
    }
    said
}

/// Of a process whose working directory is no absolute path.
pub(super) fn of_relative_directory(engine: &str) -> Said {
    Said {
        status: 400,
        code: if tells_codes(engine) { 128 } else { 126 },
        message: format!("{EXEC} Cwd must be an absolute path: unknown"),
    }
}

fn tells_codes(engine: &str) -> bool {
    let major = engine.split('.').next().and_then(|major| major.parse().ok());
    major.is_none_or(|major: u32| major >= 25)
}

fn said(begin: &str, command: &str, error: &RunError) -> Said {
    let plain = |code, message: String| Said {
        status: 500,
        code,
        message,
    };
    if !error.own {
        return plain(128, error.message.clone());
    }
    // Whom Docker doesn't find it names before the runtime is asked.
    let sought = error.message.strip_prefix("find the ");
    let sought = sought.and_then(|rest| rest.split_once(" in the image's "));
    if let Some((kind, name)) = sought.and_then(|(sought, _)| sought.split_once(' ')) {
        let file = if kind == "user" { "passwd" } else { kind };
        let message = format!("unable to find {kind} {name}: no matching entries in {file} file");
        return plain(128, message);
    }
    if let Some(at) = error.message.find("uids and gids must be in range") {
        let range = without_number(&error.message[at..], error.error);
        return plain(128, range.to_owned());
    }
    let kernel = error.error.map(kernels).unwrap_or_default();
    let more = if kernel == "not a directory" {
        NO_FOLDER
    } else {
        ""
    };
    let words = |code, what: String| Said {
        status: 400,
        code,
        message: format!("{begin} unable to start container process: {what}: unknown{more}"),
    };
    let directory = error.message.strip_prefix("enter the working directory ");
    if let Some(directory) = directory.map(|rest| without_number(rest, error.error)) {
        return words(
            128,
            format!("chdir to cwd (\"{directory}\") set in config.json failed: {kernel}"),
        );
    }
    let runs = error.message.starts_with("run ");
    let exec = |code, what: &str| words(code, format!("exec: \"{command}\": {what}"));
    match error.error {
        Some(2) if runs && command.contains('/') => exec(127, &format!("stat {command}: {kernel}")),
        Some(20) if runs && command.contains('/') => exec(128, &format!("stat {command}: {kernel}")),
        Some(2) if runs => exec(127, "executable file not found in $PATH"),
        _ if runs && command.is_empty() => exec(127, "executable file not found in $PATH"),
        Some(13) if runs => exec(126, &kernel),
        _ => exec(128, &error.message),
    }
}

/// What the kernel answered, as the daemon writes it.
fn kernels(error: i32) -> String {
    let text = std::io::Error::from_raw_os_error(error).to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    words.to_lowercase()
}

/// A step without the kernel's answer behind it.
fn without_number(step: &str, error: Option<i32>) -> &str {
    let answer = error.map(|error| format!(": {}", std::io::Error::from_raw_os_error(error)));
    answer
        .and_then(|answer| step.strip_suffix(answer.as_str()))
        .unwrap_or(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(step: &str, error: i32) -> RunError {
        RunError {
            message: format!("{step}: {}", std::io::Error::from_raw_os_error(error)),
            error: Some(error),
            own: true,
        }
    }

    #[test]
    fn what_keeps_a_process_from_joining_is_told_in_dockers_words() {
        for (step, error, wanted) in [
            (
                "enter the working directory /none",
                2,
                "OCI runtime exec failed: exec failed: unable to start container process: chdir to cwd (\"/none\") set \
                 in config.json failed: no such file or directory: unknown",
            ),
            (
                "find the user none in the image's /etc/passwd",
                2,
                "unable to find user none: no matching entries in passwd file",
            ),
            (
                "find the group none in the image's /etc/group",
                2,
                "unable to find group none: no matching entries in group file",
            ),
            (
                "take the id 4294967295: uids and gids must be in range 0-2147483647",
                22,
                "uids and gids must be in range 0-2147483647",
            ),
            (
                "run tool",
                2,
                "OCI runtime exec failed: exec failed: unable to start container process: exec: \"tool\": executable \
                 file not found in $PATH: unknown",
            ),
        ] {
            let said = of_exec("tool", &failed(step, error), true, "20.10.24");
            assert_eq!((said.code, said.message.as_str()), (126, wanted));
        }
    }

    #[test]
    fn newer_engines_tell_what_is_not_there_from_what_can_not_be_run() {
        let code = |error, engine| of_exec("tool", &failed("run tool", error), true, engine).code;
        assert_eq!([code(2, "20.10.24"), code(13, "20.10.24")], [126, 126]);
        assert_eq!([code(2, "28.2.2"), code(13, "28.2.2")], [127, 126]);
        assert_eq!(of_start("tool", &failed("run tool", 2)).code, 127);
    }
}
