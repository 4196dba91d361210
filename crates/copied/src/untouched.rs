//! A quick look that spares most containers the engine's own comparison: on this machine a container's layer is a
//! folder, and one into which nobody put anything holds folders alone, and only those that the engine made.

use std::fs;
use std::path::Path;

use crate::paths::Expected;

/// Whether nobody has put anything there; `None` where that can't be seen from here.
pub(crate) fn look(layer: &Path, expected: &Expected) -> Option<bool> {
    let mut folders = vec![(layer.to_owned(), String::new())];
    while let Some((folder, inside)) = folders.pop() {
        for entry in fs::read_dir(folder).ok()? {
            let entry = entry.ok()?;
            let path = format!("{inside}/{}", entry.file_name().to_str()?);
            if !entry.file_type().ok()?.is_dir() || !expected.explains(&path) {
                return Some(false);
            }
            folders.push((entry.path(), path));
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_engine_makes_leaves_a_container_untouched() {
        let layer = tempfile::tempdir().expect("a folder");
        let expected = Expected {
            directory: "/srv/app".to_owned(),
            mounts: vec!["/data".to_owned()],
        };
        let make = |path: &str| fs::create_dir_all(layer.path().join(path)).expect("it can be made");
        assert_eq!(look(layer.path(), &expected), Some(true));
        make("srv/app");
        make("data");
        assert_eq!(look(layer.path(), &expected), Some(true));
        fs::write(layer.path().join("srv/app/file"), "").expect("it can be written");
        assert_eq!(look(layer.path(), &expected), Some(false));
        assert_eq!(look(Path::new("/there/is/no/such"), &expected), None);
    }

    #[test]
    fn a_folder_of_anybody_elses_is_seen() {
        let layer = tempfile::tempdir().expect("a folder");
        fs::create_dir(layer.path().join("empty")).expect("it can be made");
        assert_eq!(look(layer.path(), &Expected::default()), Some(false));
    }
}
