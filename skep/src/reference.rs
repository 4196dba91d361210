//! `docs/reference/commands.md` and `environment.md`, made from the command itself and held against it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, ArgAction, Command};

use crate::cli;
use crate::environment;
use crate::exit::Exit;

/// Set it to anything to write the files anew.
const REGENERATE: &str = "SKEP_REGENERATE";

fn hold(file: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/reference")
        .join(file);
    if std::env::var_os(REGENERATE).is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/reference/{file} is not what the command says: run the tests once with {REGENERATE}=1"
    );
}

#[test]
fn the_reference_of_commands_is_up_to_date() {
    let mut command = cli::command();
    command.build();
    let mut text = String::from(
        "# Commands\n\nMade from the command itself; `skep VERB --help` says the same. Every flag that has a variable \
         can be set by it; the flag wins.\n",
    );
    for verb in verbs(&command) {
        write!(text, "\n## skep {}\n\n{}.\n\n", verb.get_name(), about(verb)).unwrap();
        text.push_str("| flag | variable | default | meaning |\n| --- | --- | --- | --- |\n");
        for argument in arguments(verb) {
            let default = defaults(argument)
                .map(|default| format!("`{default}`"))
                .unwrap_or_default();
            let variable = variable(argument)
                .map(|name| format!("`{name}`"))
                .unwrap_or_default();
            let help = help(argument);
            writeln!(
                text,
                "| `{}` | {variable} | {default} | {help} |",
                shown(argument)
            )
            .unwrap();
        }
    }
    text.push_str("\n## Exit codes\n\n| code | meaning |\n| --- | --- |\n");
    for (exit, meaning) in Exit::ALL {
        writeln!(text, "| {} | {meaning} |", exit as u8).unwrap();
    }
    hold("commands.md", &text);
}

#[test]
fn the_reference_of_environment_variables_is_up_to_date() {
    let mut command = cli::command();
    command.build();
    let mut variables: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for verb in verbs(&command) {
        for argument in arguments(verb) {
            if let Some(name) = variable(argument) {
                let entry = variables
                    .entry(name)
                    .or_insert_with(|| (help(argument), Vec::new()));
                entry.1.push(format!("`{}`", verb.get_name()));
            }
        }
    }
    let mut text = String::from(
        "# Environment variables\n\nEvery variable that `skep` reads. What instances find in theirs is in \
         [http.md](http.md).\n\n| variable | read by | meaning |\n| --- | --- | --- |\n",
    );
    for (name, (meaning, verbs)) in &variables {
        writeln!(text, "| `{name}` | {} | {meaning} |", verbs.join(", ")).unwrap();
    }
    for (name, meaning) in environment::WITHOUT_FLAG {
        writeln!(text, "| `{name}` | | {meaning} |").unwrap();
    }
    hold("environment.md", &text);
}

fn verbs(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help" && !verb.is_hide_set())
}

fn arguments(verb: &Command) -> impl Iterator<Item = &Arg> {
    verb.get_arguments()
        .filter(|argument| argument.get_id() != "help")
}

fn about(verb: &Command) -> String {
    verb.get_about().map(ToString::to_string).unwrap_or_default()
}

fn help(argument: &Arg) -> String {
    argument
        .get_help()
        .map(|help| help.to_string().replace('|', "\\|"))
        .unwrap_or_default()
}

fn variable(argument: &Arg) -> Option<String> {
    argument.get_env().map(|name| name.to_string_lossy().into_owned())
}

fn defaults(argument: &Arg) -> Option<String> {
    let takes_value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let values: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    (takes_value && !values.is_empty()).then(|| values.join(","))
}

/// The argument as it is typed.
fn shown(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    let values = names
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|");
    let takes_value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let value = if takes_value { values } else { String::new() };
    match (argument.get_short(), argument.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long} {value}").trim_end().to_owned(),
        (None, Some(long)) => format!("--{long} {value}").trim_end().to_owned(),
        (Some(short), None) => format!("-{short} {value}").trim_end().to_owned(),
        (None, None) => value,
    }
}
