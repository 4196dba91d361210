//! `skep tree -f`: the same picture again, whenever there is something new in it.

use super::Branch;
use super::lines::drawn;
use crate::exit::Failed;
use crate::printer::Printer;

/// What was shown last of a tree that is followed.
#[derive(Debug, Default)]
pub(super) struct Picture {
    lines: usize,
    /// What happened, without how long it takes by now; `None` before the first look.
    shape: Option<String>,
}

impl Picture {
    /// Shows the tree again. A person sees the times run on, in one place; a program or a file gets a picture more
    /// only when something happened, after an empty line, and as JSON one line for each.
    pub(super) fn follow(&mut self, printer: &Printer, roots: &[Branch], json: bool) -> Result<(), Failed> {
        if let Some(rows) = printer.rows().filter(|_| !json) {
            let text = cut(&drawn(printer, roots), rows);
            printer.picture(&text, self.lines)?;
            self.lines = text.lines().count();
            return Ok(());
        }
        let mut shape = String::new();
        roots.iter().for_each(|root| root.shape(0, &mut shape));
        if self.shape.as_ref() == Some(&shape) {
            return Ok(());
        }
        let is_first = self.shape.replace(shape).is_none();
        if json {
            return printer.json_line(&roots);
        }
        if !is_first {
            printer.line("")?;
        }
        printer.bytes(drawn(printer, roots).as_bytes())
    }
}

impl Branch {
    fn shape(&self, depth: usize, text: &mut String) {
        text.push_str(&format!("{depth} {} {} {}\n", self.kind, self.id, self.state));
        for below in &self.below {
            below.shape(depth + 1, text);
        }
    }
}

/// As many lines as a terminal shows with the cursor below them; a last one says how many there are beside.
fn cut(text: &str, rows: usize) -> String {
    let lines = text.lines().count();
    if lines < rows {
        return text.to_owned();
    }
    let shown = rows.saturating_sub(2).max(1);
    let kept = text.lines().take(shown).map(|line| format!("{line}\n"));
    kept.chain([format!("… {} lines more\n", lines - shown)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_picture_is_no_higher_than_the_terminal() {
        let text = "1\n2\n3\n4\n5\n";
        assert_eq!(cut(text, 6), text);
        assert_eq!(cut(text, 5), "1\n2\n3\n… 2 lines more\n");
        assert_eq!(cut(text, 2), "1\n… 4 lines more\n");
        assert_eq!(cut("", 1), "");
    }
}
