//! The length that a command says its output has.

use bytes::Bytes;
use skep_engine::Exit;
use skep_model::{Problem, ProblemCode};

use crate::run::Failure;

/// A length, and what is known of the output that is to have it.
pub(super) struct Length {
    whole: u64,
    left: u64,
    /// What completes it, once that was written. A server asks for nothing more after that, and the command would be
    /// given up as one whose caller went away; so it waits for the command's end.
    last: Option<Bytes>,
}

impl Length {
    pub(super) fn of(whole: u64) -> Self {
        Self {
            whole,
            left: whole,
            last: None,
        }
    }

    /// What of the output can be passed on now. What is beyond the length belongs to nothing.
    pub(super) fn pass(&mut self, mut output: Bytes) -> Option<Bytes> {
        let more = output.len() as u64;
        if more < self.left {
            self.left -= more;
            return Some(output);
        }
        if self.left > 0 {
            output.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left = 0;
            self.last = Some(output);
        }
        None
    }

    /// What is wrong where the command ends now.
    pub(super) fn shortfall(&self, exit: Exit) -> Option<Failure> {
        let written = self.whole - self.left;
        let internal = format!(
            "its Content-Length is {}, and it ended after {written} bytes of body",
            self.whole
        );
        let problem = Problem::new(ProblemCode::BadResponse).internal(internal);
        (self.left > 0).then(|| Failure {
            exit: Some(exit),
            ..Failure::new(problem)
        })
    }

    pub(super) fn into_last(self) -> Option<Bytes> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXIT: Exit = Exit {
        code: 0,
        out_of_memory: false,
    };

    #[test]
    fn what_completes_the_length_waits_for_the_end_and_more_is_left_out() {
        let mut length = Length::of(5);
        assert_eq!(
            length.pass(Bytes::from_static(b"he")),
            Some(Bytes::from_static(b"he"))
        );
        assert!(length.shortfall(EXIT).is_some());
        assert_eq!(length.pass(Bytes::from_static(b"llo and")), None);
        assert_eq!(length.pass(Bytes::from_static(b" more")), None);
        assert!(length.shortfall(EXIT).is_none());
        assert_eq!(length.into_last(), Some(Bytes::from_static(b"llo")));
    }
}
