//! What streams and subjects are called. Namespaces and functions are DNS labels, which hold nothing that means
//! something to NATS.

use skep_model::InvocationId;

/// The names of one namespace.
#[derive(Debug)]
pub(crate) struct Names {
    prefix: String,
    namespace: String,
}

impl Names {
    pub(crate) fn new(namespace: &str) -> Self {
        Self {
            prefix: format!("skep.{namespace}"),
            namespace: namespace.to_owned(),
        }
    }

    /// The stream of what is to be run.
    pub(crate) fn queue_stream(&self) -> String {
        format!("skep-{}-queue", self.namespace)
    }

    /// The stream of what is known of each.
    pub(crate) fn records_stream(&self) -> String {
        format!("skep-{}-records", self.namespace)
    }

    /// The object store of large request bodies.
    pub(crate) fn requests_bucket(&self) -> String {
        format!("skep-{}-requests", self.namespace)
    }

    /// The object store of large response bodies.
    pub(crate) fn results_bucket(&self) -> String {
        format!("skep-{}-results", self.namespace)
    }

    pub(crate) fn all_work(&self) -> String {
        format!("{}.queue.*", self.prefix)
    }

    /// Where a function's work is put.
    pub(crate) fn work(&self, function: &str) -> String {
        format!("{}.queue.{function}", self.prefix)
    }

    /// The function whose work is put there.
    pub(crate) fn function_of_work<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&self.prefix)?.strip_prefix(".queue.")
    }

    pub(crate) fn all_records(&self) -> String {
        format!("{}.record.*", self.prefix)
    }

    /// Where what is known of an invocation is put, each time in place of what was known before.
    pub(crate) fn record(&self, id: InvocationId) -> String {
        format!("{}.record.{id}", self.prefix)
    }

    pub(crate) fn all_absent(&self) -> String {
        format!("{}.absent.*", self.prefix)
    }

    /// Where is put since when a function is gone.
    pub(crate) fn absent(&self, function: &str) -> String {
        format!("{}.absent.{function}", self.prefix)
    }

    /// The function of which that is said there.
    pub(crate) fn function_of_absent<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&self.prefix)?.strip_prefix(".absent.")
    }
}
