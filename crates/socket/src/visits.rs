//! What is answered here for a socket on another node: as if it came through one of this node's, for a holder for whom
//! that node's agent vouches.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use skep_grant::Refusal;
use skep_model::FunctionName;
use skep_wire::Visit;

use crate::answer::{Answer, Body, nothing, refused};
use crate::calls;
use crate::engine::Sockets;
use crate::holder::{Holder, Inherited, Parent};
use crate::network;
use crate::shared::Shared;

impl Sockets {
    /// Answers a call about this node's children.
    pub async fn visited(&self, visit: Visit, request: Request<Incoming>) -> Response<Body> {
        let answered = match holder(&self.shared, &visit) {
            Ok(holder) => answer(&self.shared, holder, visit, request).await,
            Err(refusal) => Err(refusal),
        };
        answered.unwrap_or_else(|refusal| refused(&refusal))
    }
}

async fn answer(
    shared: &Arc<Shared>,
    holder: Holder,
    visit: Visit,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    if let Some(name) = &visit.name {
        let taken = shared.children().has_name(&holder.function, name);
        return Ok(nothing(if taken {
            StatusCode::CONFLICT
        } else {
            StatusCode::NO_CONTENT
        }));
    }
    let place = Arc::clone(&shared.visits).try_acquire_owned();
    let place = place.map_err(|_| Refusal {
        status: 503,
        message: "this node answers too many others' calls; end some".to_owned(),
    })?;
    let closed = shared.stop.child_token();
    let holder = Arc::new(holder);
    Ok(calls::answer_for(
        Arc::clone(shared),
        holder,
        closed,
        (Arc::new(place), visit.making),
        request,
    )
    .await)
}

/// Who speaks. Its words become labels, and the names of files: they are what Skep writes, or nothing.
fn holder(shared: &Shared, visit: &Visit) -> Result<Holder, Refusal> {
    let visitor = &visit.visitor;
    let plain = |id: &String| {
        let hex = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        !id.is_empty() && id.len() <= 64 && id.bytes().all(hex)
    };
    let mut ids = visitor.above.iter().chain([&visitor.id, &visitor.root]);
    let function: Option<FunctionName> = visit.function.parse().ok();
    let (Some(function), true) = (function, ids.all(plain)) else {
        return Err(Refusal::malformed("no agent of this version sends such a call"));
    };
    let network = inherited(shared, &function, visit);
    Ok(Holder {
        function,
        spawn: visitor.grant.clone(),
        parent: Parent::Visitor {
            id: visitor.id.clone(),
            is_child: visitor.is_child,
            root: visitor.root.clone(),
            invocation: visitor.invocation,
        },
        network,
        generation: visitor.generation,
        above: visitor.above.clone(),
        roots: Default::default(),
    })
}

/// The network of the function's sandbox here; without one, what a gateway says that any node has of it.
fn inherited(shared: &Shared, function: &FunctionName, visit: &Visit) -> Inherited {
    if let Some(here) = shared.function(function.as_str()) {
        return network::of_template(&here);
    }
    let said = visit.making.as_ref().and_then(|making| making.network.clone());
    said.map_or_else(
        || Inherited {
            mode: "none".to_owned(),
            others: Vec::new(),
        },
        |network| Inherited {
            mode: network.mode,
            others: network.others,
        },
    )
}
