//! Builds the tree from the parser's events: anchors, aliases, merge keys,
//! duplicate keys, and limits on what a file may unfold to.

use super::{Entry, Node, Value};
use crate::problem::{ComposeErrors, Position, Problem};
use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// A Compose file of a thousand services stays far below this.
const LARGEST_TREE: u64 = 500_000;
/// Compose's own format needs nine levels.
const DEEPEST: usize = 64;

enum Open {
    Sequence(Position, usize, Vec<Node>),
    Mapping(Position, usize, Vec<Entry>, Option<(String, Position)>),
}

struct Builder {
    file: Arc<Path>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    problems: Vec<Problem>,
}

/// Reads one YAML document.
///
/// # Errors
/// Syntax that is not YAML, more than one document, duplicate keys, tags
/// other than the core ones, and trees too deep or too large.
pub(crate) fn parse(file: &Path, text: &str) -> Result<Node, ComposeErrors> {
    let mut builder = Builder {
        file: Arc::from(file),
        open: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        problems: Vec::new(),
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(step) = parser.next_event() {
        let outcome = match step {
            Ok((event, span)) => {
                let position = builder.position(span.start.line(), span.start.col() + 1);
                builder.event(event, position)
            }
            Err(error) => {
                let marker = error.marker();
                let position = builder.position(marker.line(), marker.col() + 1);
                Err(Problem::new(format!("this is not YAML: {}", error.info()))
                    .at(&position, "")
                    .hint("look at the indentation and quotes of this line and the one above"))
            }
        };
        if let Err(problem) = outcome {
            builder.problems.push(problem);
            return Err(ComposeErrors(builder.problems));
        }
    }
    if !builder.problems.is_empty() {
        return Err(ComposeErrors(builder.problems));
    }
    let start = builder.position(1, 1);
    Ok(builder.root.unwrap_or(Node {
        position: start,
        value: Value::Null,
        weight: 1,
    }))
}

impl Builder {
    fn position(&self, line: usize, column: usize) -> Position {
        Position {
            file: self.file.clone(),
            line,
            column,
        }
    }

    fn event(&mut self, event: Event<'_>, position: Position) -> Result<(), Problem> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(Problem::new("a second YAML document starts here")
                    .at(&position, "")
                    .hint("keep one document a file, and pass several files with several -f"))
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(mut node) => {
                    // Messages point at the use, contents at their definition.
                    node.position = position;
                    self.place(node)
                }
                None => {
                    Err(Problem::new("an alias stands inside the anchor that it names").at(&position, ""))
                }
            },
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_ref(), &position)?;
                self.close(
                    anchor,
                    Node {
                        position,
                        value,
                        weight: 1,
                    },
                )
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_ref(), &position)?;
                self.enter(Open::Sequence(position.clone(), anchor, Vec::new()), &position)
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_ref(), &position)?;
                self.enter(
                    Open::Mapping(position.clone(), anchor, Vec::new(), None),
                    &position,
                )
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::Sequence(start, anchor, items)) => {
                    self.close(anchor, Node::sequence(start, items))
                }
                Some(Open::Mapping(start, anchor, entries, _)) => {
                    let entries = self.apply_merge_keys(entries);
                    self.close(anchor, Node::mapping(start, entries))
                }
                None => Ok(()),
            },
        }
    }

    fn enter(&mut self, open: Open, position: &Position) -> Result<(), Problem> {
        if self.open.len() >= DEEPEST {
            return Err(Problem::new(format!("nested deeper than {DEEPEST} levels")).at(position, ""));
        }
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self, anchor: usize, node: Node) -> Result<(), Problem> {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.place(node)
    }

    fn place(&mut self, node: Node) -> Result<(), Problem> {
        if node.weight > LARGEST_TREE {
            return Err(Problem::new(format!(
                "unfolds to more than {LARGEST_TREE} values through its aliases"
            ))
            .at(&node.position, ""));
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::Sequence(_, _, items)) => items.push(node),
            Some(Open::Mapping(_, _, entries, pending)) => match pending.take() {
                None => {
                    let text = match &node.value {
                        Value::Scalar(text) => text.clone(),
                        Value::Null => String::from("null"),
                        _ => {
                            return Err(Problem::new("a key must be a single word").at(&node.position, ""));
                        }
                    };
                    *pending = Some((text, node.position));
                }
                Some((key, position)) => {
                    let earlier = entries.iter().find(|entry| entry.key == key && key != "<<");
                    if let Some(earlier) = earlier {
                        self.problems.push(
                            Problem::new(format!(
                                "the key stands twice in one mapping, first in line {}",
                                earlier.position.line
                            ))
                            .at(&position, key)
                            .hint("keep one of the two"),
                        );
                    } else {
                        entries.push(Entry { key, position, node });
                    }
                }
            },
        }
        Ok(())
    }

    /// `<<`: what the mapping says itself wins, then the earlier merged one
    /// (<https://yaml.org/type/merge.html>).
    fn apply_merge_keys(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut own = Vec::with_capacity(entries.len());
        let mut merged: Vec<Entry> = Vec::new();
        for entry in entries {
            if entry.key != "<<" {
                own.push(entry);
                continue;
            }
            let sources = match &entry.node.value {
                Value::Sequence(items) => items.to_vec(),
                _ => vec![entry.node.clone()],
            };
            for source in sources {
                match &source.value {
                    Value::Mapping(entries) => merged.extend(entries.iter().cloned()),
                    _ => self.problems.push(
                        Problem::new(format!("expected a mapping, found {}", source.kind()))
                            .at(&entry.position, "<<")
                            .hint("<<: takes an alias of a mapping, or a list of them"),
                    ),
                }
            }
        }
        for entry in merged {
            if !own.iter().any(|kept| kept.key == entry.key) {
                own.push(entry);
            }
        }
        own
    }
}

fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Cow<'_, Tag>>,
    position: &Position,
) -> Result<Value, Problem> {
    let is_string = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    refuse_tag(tag, position)?;
    let null =
        style == ScalarStyle::Plain && !is_string && matches!(text, "" | "~" | "null" | "Null" | "NULL");
    Ok(if null {
        Value::Null
    } else {
        Value::Scalar(text.to_owned())
    })
}

fn refuse_tag(tag: Option<&Cow<'_, Tag>>, position: &Position) -> Result<(), Problem> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            Err(Problem::new(format!("the tag {tag} is not supported"))
                .at(position, "")
                .hint("write the value out instead of resetting or overriding it with a tag"))
        }
        _ => Ok(()),
    }
}
