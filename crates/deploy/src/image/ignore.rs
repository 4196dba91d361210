//! `.dockerignore`: patterns with `*`, `?`, `[…]` and `**`, exceptions with
//! `!`, the last match deciding
//! (<https://docs.docker.com/build/concepts/context/#dockerignore-files>).

use std::path::Path;

/// A file's patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    exception: bool,
    segments: Vec<String>,
}

impl Ignore {
    pub(super) fn parse(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let rules = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .filter_map(|line| {
                let (exception, pattern) = match line.strip_prefix('!') {
                    Some(pattern) => (true, pattern.trim()),
                    None => (false, line),
                };
                let mut segments: Vec<String> = Vec::new();
                for segment in pattern.split('/') {
                    match segment {
                        "" | "." => {}
                        ".." => {
                            segments.pop();
                        }
                        other => segments.push(other.to_owned()),
                    }
                }
                (!segments.is_empty()).then_some(Rule { exception, segments })
            })
            .collect();
        Self { rules }
    }

    pub(super) fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.exception)
    }

    /// Whether a path relative to the context is left out. A pattern that
    /// matches a directory matches everything below it.
    pub(super) fn excludes(&self, path: &Path) -> bool {
        let parts: Vec<String> = path
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        let mut excluded = false;
        for rule in &self.rules {
            if rule.exception == excluded && matches_or_parent(&rule.segments, &parts) {
                excluded = !rule.exception;
            }
        }
        excluded
    }
}

fn matches_or_parent(pattern: &[String], path: &[String]) -> bool {
    (1..=path.len()).any(|length| matches(pattern, &path[..length]))
}

fn matches(pattern: &[String], path: &[String]) -> bool {
    // One row of a table instead of recursion: many `**` must not take forever.
    let mut reachable = vec![false; path.len() + 1];
    reachable[0] = true;
    for segment in pattern {
        if segment == "**" {
            let first = reachable.iter().position(|&reached| reached);
            if let Some(first) = first {
                reachable[first..].fill(true);
            }
            continue;
        }
        for index in (0..path.len()).rev() {
            reachable[index + 1] = reachable[index] && matches_name(segment, &path[index]);
        }
        reachable[0] = false;
    }
    reachable[path.len()]
}

/// One name against `*`, `?`, `[a-z]`, `[^a]` and `\` escapes.
fn matches_name(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut position) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if at < pattern.len() && pattern[at] == '*' {
            retry = Some((at + 1, position));
            at += 1;
            continue;
        }
        if at == pattern.len() && position == name.len() {
            return true;
        }
        let step = (at < pattern.len() && position < name.len())
            .then(|| one(&pattern[at..], name[position]))
            .flatten();
        match (step, retry) {
            (Some(used), _) => {
                at += used;
                position += 1;
            }
            // Let the last star take one letter more.
            (None, Some((after, taken))) if taken < name.len() => {
                retry = Some((after, taken + 1));
                at = after;
                position = taken + 1;
            }
            _ => return false,
        }
    }
}

/// How much of the pattern one letter used up; `None` where it does not match.
fn one(pattern: &[char], letter: char) -> Option<usize> {
    match pattern[0] {
        '?' => Some(1),
        '\\' if pattern.len() > 1 => (pattern[1] == letter).then_some(2),
        '[' => {
            let negated = matches!(pattern.get(1), Some('^' | '!'));
            let mut index = 1 + usize::from(negated);
            let mut found = false;
            let start = index;
            while *pattern.get(index)? != ']' || index == start {
                let low = pattern[index];
                let high = match (pattern.get(index + 1), pattern.get(index + 2)) {
                    (Some('-'), Some(&high)) if high != ']' => {
                        index += 2;
                        high
                    }
                    _ => low,
                };
                found |= (low..=high).contains(&letter);
                index += 1;
            }
            (found != negated).then_some(index + 1)
        }
        other => (other == letter).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn excludes(text: &str, path: &str) -> bool {
        Ignore::parse(text).excludes(Path::new(path))
    }

    #[test]
    fn patterns_match_as_the_docker_command_has_them() {
        for (text, path, expected) in [
            ("target", "target/debug/x", true),
            ("/target/", "target", true),
            ("target", "src/target", false),
            ("**/target", "src/target/x", true),
            ("**", "anything", true),
            ("*.md", "README.md", true),
            ("*.md", "docs/README.md", false),
            ("**/*.md", "docs/README.md", true),
            ("*.md\n!README.md", "README.md", false),
            ("*.md\n!README.md\nREADME*", "README.md", true),
            ("docs\n!docs/keep", "docs/keep/me", false),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("temp?", "temp1", true),
            ("temp?", "temp", false),
            ("file[0-9]", "file7", true),
            ("file[^0-9]", "file7", false),
            ("# note\n\n  spaced  ", "spaced", true),
            ("./a/../b", "b", true),
        ] {
            assert_eq!(excludes(text, path), expected, "{text:?} on {path}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics_or_hangs(text in "[\\[\\]*?!/a-c.^\\\\-]{0,40}", path in "[a-c/.]{1,40}") {
            let _ = excludes(&text, &path);
        }

        #[test]
        fn a_plain_name_excludes_itself_and_what_is_below(name in "[a-z]{1,8}", below in "[a-z]{1,8}") {
            let inside = format!("{name}/{below}");
            prop_assert!(excludes(&name, &name));
            prop_assert!(excludes(&name, &inside));
        }
    }
}
