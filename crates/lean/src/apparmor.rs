//! Whether an AppArmor profile can be given to an instance (apparmor(7)).

use std::io;

/// Tries to choose a profile for the next exec, in a thread that ends without one: what the kernel answers here, an
/// instance would be answered.
///
/// # Errors
/// A sentence for the operator.
pub(crate) fn check(profile: &str) -> Result<(), String> {
    let text = format!("exec {profile}");
    let attempt = move || {
        let own = std::fs::write("/proc/thread-self/attr/apparmor/exec", &text);
        own.or_else(|_| std::fs::write("/proc/thread-self/attr/exec", &text))
    };
    let answer = std::thread::Builder::new()
        .name("skep-apparmor".to_owned())
        .spawn(attempt)
        .map(|thread| thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())));
    match answer.and_then(|answer| answer) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!(
            "the AppArmor profile {profile} is not loaded on this node"
        )),
        Err(error) => Err(format!(
            "the AppArmor profile {profile} can't be given to instances (in a container: run Skep with \
             --security-opt apparmor=unconfined): {error}"
        )),
    }
}
