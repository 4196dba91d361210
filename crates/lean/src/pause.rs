//! Where the process of a sandbox is kept on this host.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Puts the program into a folder, in place of an older one; gives its path.
pub(crate) fn install(folder: &Path) -> io::Result<PathBuf> {
    let (path, fresh) = (folder.join("pause"), folder.join("pause.new"));
    fs::write(&fresh, skep_pause::program())?;
    fs::set_permissions(&fresh, Permissions::from_mode(0o555))?;
    fs::rename(&fresh, &path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_runs_until_it_is_killed() {
        let folder = std::env::temp_dir().join(format!("skep-pause-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let path = install(&folder).expect("the program is installed");
        let mut child = std::process::Command::new(path)
            .spawn()
            .expect("the kernel takes it");
        assert!(child.try_wait().expect("it can be asked").is_none());
        child.kill().expect("it can be killed");
        let status = child.wait().expect("it ends");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        fs::remove_dir_all(folder).expect("the folder goes");
    }
}
