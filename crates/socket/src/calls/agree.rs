//! Whether a child may be made, and where: a place among those of its function, and what whoever knows of the other nodes
//! says to it.

use skep_grant::{Create, NetworkAsked, Refusal};
use skep_wire::Making;

use super::create::Origin;
use super::{Context, afar};
use crate::answer::Answer;
use crate::budget::{Place, Question, Usage};
use crate::labels::Marks;

/// Where a child is made.
pub(super) enum Where {
    Here,
    /// It was, on another node.
    There(Answer),
    /// It is a function's, and no node has a sandbox of it.
    Nowhere,
}

/// Takes a place. What ended a moment ago may not be known yet: Docker is asked before anything is refused.
pub(super) async fn admit(context: &Context, marks: &Marks, name: &str) -> Result<u64, Refusal> {
    let shared = &context.shared;
    let attempt = || {
        let mut children = shared.children();
        children.admit(&context.holder.spawn, marks.clone(), name)
    };
    match attempt() {
        Ok(place) => Ok(place),
        Err(_) => {
            shared.look_now().await;
            attempt()
        }
    }
}

/// Has whoever knows of the other nodes agree to a child, and say where it is made.
pub(super) async fn agree(
    context: &Context,
    create: &Create,
    origin: &Origin,
    marks: &Marks,
    (number, name): (u64, &str),
) -> Result<Where, Refusal> {
    let (shared, holder) = (&context.shared, &context.holder);
    let can = !matches!(origin, Origin::Elsewhere(_));
    let question = match &context.making {
        Some(making) => Question::For(making.node.clone(), making.number),
        None if context.elsewhere().is_some() => Question::Where(Place {
            number,
            wants: Usage::default().with(marks),
            of: origin.name(),
            inherits: create.network == NetworkAsked::Parents,
            can,
            stays: create.is_of_its_node() || !may_move(context),
            here: shared.children().usage_of_all(),
        }),
        None => Question::Here,
    };
    let agreed = shared.agreed(holder, question).await?;
    if !agreed.others.is_empty() && context.query.get("name").is_some_and(|name| !name.is_empty()) {
        context.free_elsewhere(name, &agreed.others).await?;
    }
    if let Some(node) = &agreed.node {
        let making = Making {
            node: String::new(),
            number,
            is_function: origin.name().is_some(),
            network: None,
        };
        if let Some(made) = afar::create(context, create, name, node, making).await? {
            return Ok(Where::There(made));
        }
        if can {
            shared.children().stays(number);
            shared.agreed(holder, Question::Here).await?;
        }
    }
    if !can {
        return Ok(Where::Nowhere);
    }
    shared.children().stays(number);
    Ok(Where::Here)
}

/// A platform that was asked for is this node's to find.
fn may_move(context: &Context) -> bool {
    context.query.get("platform").is_none_or(str::is_empty)
}
