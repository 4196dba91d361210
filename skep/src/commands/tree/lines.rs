//! The tree as lines of text.

use super::Branch;
use crate::printer::Printer;

pub(super) fn drawn(printer: &Printer, roots: &[Branch]) -> String {
    let mut text = String::new();
    for root in roots {
        draw(printer, root, "", "", &mut text);
    }
    text
}

fn draw(printer: &Printer, branch: &Branch, first: &str, rest: &str, text: &mut String) {
    // The end of an invocation's id is its random part; a container is known by the beginning of its.
    let id = branch.id.as_str();
    let id = if branch.kind == "container" {
        id.get(..12)
    } else {
        id.get(id.len().saturating_sub(12)..)
    };
    let state = printer.toned(&branch.state, branch.tone);
    let line = format!(
        "{first}{} {} {} {state}",
        branch.name,
        branch.kind,
        id.unwrap_or_default()
    );
    text.push_str(&line);
    if !branch.detail.is_empty() {
        text.push_str(&format!("  {}", branch.detail));
    }
    text.push('\n');
    for (index, below) in branch.below.iter().enumerate() {
        let is_last = index + 1 == branch.below.len();
        let (mark, space) = if is_last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        draw(
            printer,
            below,
            &format!("{rest}{mark}"),
            &format!("{rest}{space}"),
            text,
        );
    }
}
