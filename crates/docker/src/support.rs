//! What this engine can't do from where Skep runs, said in time: the function is then invalid, with the reason.

use skep_model::{Function, Handler, PortChoice};

use crate::body::Definition;
use crate::networks::NetworkMode;
use crate::reach::Reach;

/// Every reason why a function can't run here.
pub(crate) fn unsupported(reach: &Reach, function: &Function) -> Vec<String> {
    let definition = match Definition::read(function) {
        Ok(definition) => definition,
        Err(error) => return vec![error.to_string()],
    };
    let mut reasons = Vec::new();
    let several = function.settings.max > 1 || function.settings.spares > 0;
    if let Some(address) = definition.mac_address().filter(|_| several) {
        reasons.push(format!(
            "the container asks for the MAC address {address}, which one instance at a time can have; \
             set skep.max=1 and skep.spares=0, or leave the address to Docker"
        ));
    }
    if function.settings.handler == Handler::Http {
        reasons.extend(unreachable(reach, &definition.mode));
        if let (PortChoice::Fixed(port), true, true) =
            (function.settings.port, definition.mode.is_foreign(), several)
        {
            reasons.push(format!(
                "the port {port} is fixed and the network namespace is shared, so one instance at a time can listen; \
                 set skep.max=1 and skep.spares=0, or let the server listen on $PORT"
            ));
        }
    }
    reasons
}

fn unreachable(reach: &Reach, mode: &NetworkMode) -> Option<String> {
    match reach {
        Reach::Namespaces { .. } => None,
        Reach::Nowhere { reason } => Some(reason.clone()),
        Reach::Networks { .. } => {
            let network = match mode {
                NetworkMode::Default | NetworkMode::Named(_) => return None,
                NetworkMode::None => "none",
                NetworkMode::Host => "host",
                NetworkMode::Container(_) => "container:…",
            };
            Some(format!(
                "its network is {network}, and Skep, running as a container, can't reach an http function there; \
                 put it on a network, use skep.handler=exec or cgi, or run skep on the host"
            ))
        }
    }
}
