//! Names of children: what a function calls `db` is another container to Docker than what another function calls so.
//!
//! A name is more than a word on a Docker network: others resolve it. Were it taken as it comes, a child could answer
//! in the place of a real `db` (docs/decisions/080).

use std::sync::Arc;

use skep_grant::Refusal;
use skep_model::{FunctionName, Namespace};

use crate::shared::Shared;

/// The longest name that a child may have.
const LONGEST: usize = 100;

const FIRST: [&str; 16] = [
    "amber", "brave", "busy", "calm", "clever", "dusky", "eager", "fuzzy", "golden", "humming", "keen",
    "lively", "merry", "nimble", "sunny", "wild",
];
const SECOND: [&str; 16] = [
    "aster", "bee", "borage", "clover", "comb", "drone", "heather", "honey", "lavender", "linden", "nectar",
    "pollen", "queen", "sage", "thyme", "worker",
];

/// What stands before every name of a function's children, to Docker. Neither a namespace nor a function has a `_` in
/// its name, so that no two functions' children can come to the same, whatever they are called.
pub(crate) fn prefix(namespace: &Namespace, function: &FunctionName) -> String {
    format!("skep_{namespace}_{function}_")
}

/// A name that a request asks for.
pub(crate) fn asked(text: &str) -> Result<String, Refusal> {
    let name = text.strip_prefix('/').unwrap_or(text);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let first = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && name.len() > 1 && name.len() <= LONGEST && name.bytes().all(plain) {
        Ok(name.to_owned())
    } else {
        Err(Refusal::malformed(format!(
            "Invalid container name ({text}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, at most {LONGEST} of them"
        )))
    }
}

/// A name that is being given: nobody else gets it meanwhile. Docker knows nothing of those of lean children.
pub(crate) struct Giving {
    shared: Arc<Shared>,
    function: FunctionName,
    name: String,
}

impl Giving {
    /// Takes it; whoever has it is told of.
    pub(crate) fn take(shared: &Arc<Shared>, function: &FunctionName, name: &str) -> Result<Self, Refusal> {
        shared.children().take_name(function, name)?;
        Ok(Self {
            shared: Arc::clone(shared),
            function: function.clone(),
            name: name.to_owned(),
        })
    }
}

impl Drop for Giving {
    fn drop(&mut self) {
        self.shared.children().name_is_given(&self.function, &self.name);
    }
}

/// A name for a child that asks for none.
pub(crate) fn generated() -> String {
    let random = uuid::Uuid::now_v7().as_u128();
    let pick = |words: [&'static str; 16], shift: u32| words[(random >> shift) as usize & 15];
    format!(
        "{}_{}_{:04x}",
        pick(FIRST, 0),
        pick(SECOND, 4),
        random >> 8 & 0xffff
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_functions_children_have_one_name() {
        let words = ["a", "a-b", "a-child", "a-child-b", "b", "child", "b-child-c"];
        let names = ["bb", "b_c", "child-b", "b-child-c", "a_b_c", "child_b", "_b"];
        let mut seen = HashSet::new();
        for namespace in words {
            for function in words {
                let prefix = prefix(&namespace.parse().unwrap(), &function.parse().unwrap());
                for name in names.iter().filter_map(|name| asked(name).ok()) {
                    assert!(seen.insert(format!("{prefix}{name}")), "{prefix}{name}");
                }
            }
        }
        assert_eq!(seen.len(), 7 * 7 * 6);
    }
}
