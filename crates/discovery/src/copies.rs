//! What is known of what people put into templates with `docker cp`. The engine says each time that it happens, so that
//! it need not be looked for with every inspection.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use skep_model::Copied;

/// What is known of one container.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    /// This, or that it has nothing.
    Yes(Option<Arc<Copied>>),
    /// It must be looked at.
    No,
}

/// What is known of all of them.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    known: HashMap<Arc<str>, Option<Arc<Copied>>>,
    /// More was put in since they were last asked about: an answer that is still on its way is worth nothing.
    doubted: HashSet<Arc<str>>,
}

impl Copies {
    /// What need not be read again. Whatever is read from here on is new enough.
    pub(crate) fn ask(&mut self, id: &str) -> Known {
        self.doubted.remove(id);
        self.known.get(id).cloned().map_or(Known::No, Known::Yes)
    }

    /// This was read.
    pub(crate) fn learn(&mut self, id: &Arc<str>, copied: Option<Arc<Copied>>) {
        if !self.doubted.contains(id) {
            self.known.insert(Arc::clone(id), copied);
        }
    }

    /// Something was put into it.
    pub(crate) fn doubt(&mut self, id: &Arc<str>) {
        self.known.remove(id);
        self.doubted.insert(Arc::clone(id));
    }

    /// Events may have been missed.
    pub(crate) fn distrust(&mut self) {
        self.known.clear();
    }

    /// The container is gone.
    pub(crate) fn forget(&mut self, id: &str) {
        self.known.remove(id);
        self.doubted.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_from_before_the_last_copy_is_not_believed_later() {
        let (mut copies, id) = (Copies::default(), Arc::<str>::from("a"));
        assert!(matches!(copies.ask(&id), Known::No));
        copies.doubt(&id);
        copies.learn(&id, None);
        assert!(matches!(copies.ask(&id), Known::No));
        copies.learn(&id, None);
        assert!(matches!(copies.ask(&id), Known::Yes(None)));
    }
}
