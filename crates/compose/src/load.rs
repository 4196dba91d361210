//! Finds the files, fills them in and decodes them.

use crate::decode::{Context, check, decode, read_text};
use crate::dotenv;
use crate::interpolate::{Variables, interpolate_tree};
use crate::problem::{ComposeErrors, Note, Position, Problem};
use crate::project::Project;
use crate::yaml::{self, Node, Value};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

/// Where Compose looks, in this order.
const FILE_NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
];

/// What to load and how; `environment` is the process's, handed in.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The files of `-f`, the later laid over the earlier; without any,
    /// those of `COMPOSE_FILE`, else Compose's own file names are looked for,
    /// upwards from `working_directory`.
    pub files: Vec<PathBuf>,
    /// The name of `-p`.
    pub project_name: Option<String>,
    /// Where relative paths start; the first file's directory without.
    pub project_directory: Option<PathBuf>,
    /// Profiles to activate, besides `COMPOSE_PROFILES`; `*` is all.
    pub profiles: Vec<String>,
    /// Variables for interpolation; they win over the `.env` file.
    pub environment: BTreeMap<String, String>,
    /// Absolute; where relative files of `-f` start.
    pub working_directory: PathBuf,
}

/// A project and what there is to say about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The project.
    pub project: Project,
    /// Keys that mean less here than elsewhere, variables without value.
    pub notes: Vec<Note>,
}

/// Reads a project from its files. Nothing but these files, the `.env` beside
/// them and the files they name is read; nothing is written.
///
/// # Errors
/// Every problem found, each with its place.
pub fn load(options: LoadOptions) -> Result<Loaded, ComposeErrors> {
    let files = find_files(&options)?;
    let directory = project_directory(&options, &files);
    let variables = variables(&options, &directory)?;
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    let mut root: Option<Node> = None;
    for file in &files {
        let shown = file.strip_prefix(&options.working_directory).unwrap_or(file);
        let text = read_text(file).map_err(|error| {
            ComposeErrors::one(
                Problem::new(format!("cannot be read: {error}"))
                    .at(&Position::of_file(shown), "")
                    .hint("name the file with -f"),
            )
        })?;
        let tree = yaml::parse(shown, &text)?;
        let tree = interpolate_tree(&tree, "", &variables, &mut problems, &mut notes);
        root = Some(match root {
            Some(base) => yaml::overlay(&base, &tree, ""),
            None => tree,
        });
    }
    let Some(root) = root else {
        return Err(ComposeErrors::one(Problem::new("no file is named")));
    };
    let name = project_name(&options, &variables, &root, &directory)?;
    let mut project = Project {
        name,
        directory: directory.clone(),
        files,
        services: BTreeMap::new(),
        disabled: BTreeSet::new(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
    };
    let context = Context::new(&directory, &variables);
    if let Some(documents) = decode(&context, &root, &project.name) {
        let profiles = profiles(&options, &variables);
        check(&context, documents, &profiles, &mut project);
    }
    let (more_problems, more_notes) = context.finish();
    problems.extend(more_problems);
    notes.extend(more_notes);
    let mut said = HashSet::new();
    notes.retain(|note| said.insert(note.to_string()));
    if problems.is_empty() {
        return Ok(Loaded { project, notes });
    }
    problems.sort_by(|left, right| left.position.cmp(&right.position));
    // An alias decodes one mistake as often as it is used.
    problems.dedup();
    Err(ComposeErrors(problems))
}

fn find_files(options: &LoadOptions) -> Result<Vec<PathBuf>, ComposeErrors> {
    let absolute = |file: &Path| options.working_directory.join(file);
    if !options.files.is_empty() {
        return Ok(options.files.iter().map(|file| absolute(file)).collect());
    }
    if let Some(listed) = options
        .environment
        .get("COMPOSE_FILE")
        .filter(|listed| !listed.is_empty())
    {
        let separator = options
            .environment
            .get("COMPOSE_PATH_SEPARATOR")
            .map_or(":", String::as_str);
        return Ok(listed
            .split(separator)
            .map(|file| absolute(Path::new(file)))
            .collect());
    }
    let start = options.project_directory.as_ref().map_or_else(
        || options.working_directory.clone(),
        |directory| options.working_directory.join(directory),
    );
    for directory in start.ancestors() {
        let found = FILE_NAMES
            .iter()
            .map(|name| directory.join(name))
            .find(|file| file.is_file());
        if let Some(file) = found {
            let mut files = vec![file];
            files.extend(override_of(directory));
            return Ok(files);
        }
    }
    Err(ComposeErrors::one(
        Problem::new(format!(
            "no Compose file in {} or above",
            options.working_directory.display()
        ))
        .hint(format!(
            "name one with -f; without it {} are looked for",
            FILE_NAMES.join(", ")
        )),
    ))
}

/// The override file that Compose lays over a file found by itself.
fn override_of(directory: &Path) -> Option<PathBuf> {
    [
        "compose.override.yaml",
        "compose.override.yml",
        "docker-compose.override.yaml",
        "docker-compose.override.yml",
    ]
    .iter()
    .map(|name| directory.join(name))
    .find(|file| file.is_file())
}

fn project_directory(options: &LoadOptions, files: &[PathBuf]) -> PathBuf {
    if let Some(directory) = &options.project_directory {
        return options.working_directory.join(directory);
    }
    files
        .first()
        .and_then(|file| file.parent())
        .unwrap_or(&options.working_directory)
        .to_owned()
}

/// The `.env` file below the environment.
fn variables(options: &LoadOptions, directory: &Path) -> Result<Variables, ComposeErrors> {
    let file = directory.join(".env");
    let mut variables = match read_text(&file) {
        // Python's virtual environments like to be called so, too.
        Err(_) if file.is_dir() => Variables::new(),
        Ok(text) => dotenv::parse(&text, &options.environment).map_err(|problem| {
            ComposeErrors::one(Problem::new(problem.message).at(
                &Position {
                    line: problem.line,
                    column: 1,
                    ..Position::of_file(file)
                },
                "",
            ))
        })?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Variables::new(),
        Err(error) => {
            return Err(ComposeErrors::one(
                Problem::new(format!("cannot be read: {error}")).at(&Position::of_file(file), ""),
            ));
        }
    };
    variables.extend(options.environment.clone());
    Ok(variables)
}

fn profiles(options: &LoadOptions, variables: &Variables) -> BTreeSet<String> {
    let listed = variables
        .get("COMPOSE_PROFILES")
        .map_or("", String::as_str)
        .split(',')
        .map(|profile| profile.trim().to_owned())
        .filter(|profile| !profile.is_empty());
    options.profiles.iter().cloned().chain(listed).collect()
}

/// From the flag, the environment, the file, or the directory, in this order.
fn project_name(
    options: &LoadOptions,
    variables: &Variables,
    root: &Node,
    directory: &Path,
) -> Result<String, ComposeErrors> {
    let in_file = root.get("name").and_then(|node| match &node.value {
        Value::Scalar(text) if !text.is_empty() => Some((text.clone(), node.position.clone())),
        _ => None,
    });
    let (name, position) = match (
        &options.project_name,
        variables.get("COMPOSE_PROJECT_NAME"),
        in_file,
    ) {
        (Some(name), _, _) => (name.clone(), None),
        (None, Some(name), _) if !name.is_empty() => (name.clone(), None),
        (None, _, Some((name, position))) => (name, Some(position)),
        _ => (from_directory(directory), None),
    };
    if is_project_name(&name) {
        return Ok(name);
    }
    let mut problem = Problem::new(format!("\"{name}\" cannot be a project's name"))
        .hint("lower-case letters, digits, - and _, beginning with a letter or digit");
    if let Some(position) = position {
        problem = problem.at(&position, "name");
    }
    Err(ComposeErrors::one(problem))
}

fn is_project_name(name: &str) -> bool {
    let legal = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    name.starts_with(legal)
        && name
            .chars()
            .all(|letter| legal(letter) || matches!(letter, '_' | '-'))
}

/// The directory's name with what a project's name cannot hold taken out.
fn from_directory(directory: &Path) -> String {
    let name = directory
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let legal: String = name
        .chars()
        .filter(|letter| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '_' | '-')
        })
        .collect();
    legal.trim_start_matches(['_', '-']).to_owned()
}
