//! What the sockets of a node's functions know: the functions that have a sandbox here, and which others are deployed.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use skep_catalogue::Catalogue;
use skep_model::{Function, FunctionName, InstanceId, Invalid, InvocationId, TemplateId};

use crate::agent::Agent;
use crate::table::Table;

impl Agent {
    /// Whether there are names here of which only a gateway knows whether they are functions'.
    pub(crate) fn has_questions(&self) -> bool {
        !self.questions().is_empty()
    }

    /// What functions there are, as a gateway knows it.
    pub(crate) fn learn(&self, names: BTreeSet<String>) {
        self.visited().retain(|name| names.contains(name));
        *self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner) = Some(names);
        self.tell_sockets();
    }

    /// A child of a function is to be made here: it is deployed, as a gateway knows that sent it.
    pub(crate) fn meet(&self, function: &str) {
        let is_new = self.visited().insert(function.to_owned());
        let mut elsewhere = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        let was_unknown = elsewhere
            .as_mut()
            .is_some_and(|known| known.insert(function.to_owned()));
        drop(elsewhere);
        if is_new || was_unknown {
            self.tell_sockets();
        }
    }

    fn visited(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.visited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The functions that have children here and no sandbox, and what is granted and may be a function's name: then it is
    /// no image's.
    fn questions(&self) -> BTreeSet<String> {
        let sandboxes = self.table.all();
        let names = sandboxes.iter().map(|sandbox| sandbox.function.name.to_string());
        let here: BTreeSet<String> = names.collect();
        let children = self.sockets.children().into_iter();
        let strays = children
            .filter(|child| !child.is_removed())
            .map(|child| child.function().to_string());
        let spawns = sandboxes
            .iter()
            .filter_map(|sandbox| sandbox.function.settings.spawn.as_ref());
        let granted = spawns.flat_map(|spawn| &spawn.may_start);
        let granted = granted.filter(|entry| entry.parse::<FunctionName>().is_ok());
        let visited = self.visited().clone();
        let names = strays.chain(granted.cloned()).chain(visited);
        names.filter(|name| !here.contains(name)).collect()
    }

    /// Tells the sockets what is deployed. The children of a function that is not go; one of which only that is known
    /// has none that could be started.
    pub(crate) fn tell_sockets(&self) {
        let elsewhere = self
            .elsewhere
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let questions = self.questions();
        let known = questions
            .iter()
            .filter(|name| elsewhere.as_ref().is_none_or(|known| known.contains(*name)));
        let known = known.map(|name| {
            Err(Invalid {
                name: name.clone(),
                template: TemplateId("".into()),
                template_name: String::new(),
                reasons: vec!["it has no sandbox on this node".to_owned()],
            })
        });
        let sandboxes = self.table.all();
        let here = sandboxes
            .iter()
            .map(|sandbox| Ok(Function::clone(&sandbox.function)));
        let catalogue = Catalogue::resolve(&self.adopter.namespace, here.chain(known).collect(), None);
        self.catalogue.send_replace(Arc::new(catalogue));
    }
}

/// Which invocations run where, as the sockets ask for it.
pub(crate) struct Lineage(Table);

impl Lineage {
    pub(crate) fn of(table: Table) -> Self {
        Self(table)
    }
}

impl std::fmt::Debug for Lineage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lineage")
    }
}

impl skep_socket::Lineage for Lineage {
    fn invocations_in(&self, instance: InstanceId) -> Vec<InvocationId> {
        let sandboxes = self.0.all().into_iter();
        sandboxes
            .flat_map(|sandbox| sandbox.dispatcher.invocations_in(instance))
            .collect()
    }
}
