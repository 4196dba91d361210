//! Network namespaces for children without a network: made before they are asked for, because the kernel takes as long
//! for one as for all the other namespaces together, and about as long to take one down. Each is one child's alone while
//! it runs; the next child of the same shape gets it, as it gets a sandbox.

use std::sync::{Arc, Mutex, PoisonError};

use skep_sys::NetworkNamespace;

use crate::engine::Shared;

/// How many are kept, once there was a child that needed one.
const SPARE: usize = 2;

/// Those that are free.
#[derive(Debug, Default)]
pub(crate) struct Networks(Mutex<Spare>);

#[derive(Debug, Default)]
struct Spare {
    free: Vec<NetworkNamespace>,
    making: usize,
}

impl Networks {
    /// One that is fresh, where there is one; the others that are wanted are made meanwhile.
    pub(super) fn take(&self, shared: &Arc<Shared>) -> Option<NetworkNamespace> {
        let (taken, missing) = {
            let mut spare = self.lock();
            let taken = spare.free.pop();
            let missing = SPARE.saturating_sub(spare.free.len() + spare.making);
            spare.making += missing;
            (taken, missing)
        };
        for _ in 0..missing {
            let again = shared.clone();
            shared.tasks.spawn_blocking(move || {
                let made = NetworkNamespace::fresh();
                let mut spare = again.grounds.networks.lock();
                spare.making -= 1;
                match made {
                    Ok(made) => spare.free.push(made),
                    // The child then makes its own, and says what is wrong.
                    Err(error) => tracing::debug!(%error, "no network namespace could be made ahead"),
                }
            });
        }
        taken
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Spare> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
