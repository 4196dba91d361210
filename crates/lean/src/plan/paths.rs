//! Paths as Docker understands them.

/// The shortest way to write an absolute path, by its words alone: Docker looks at no link for it.
pub(crate) fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_same_however_it_is_written() {
        for path in ["/a/b", "//a/b/", "/a/./b", "/a/x/../b/", "/../a//b/."] {
            assert_eq!(clean(path), "/a/b", "{path}");
        }
        assert_eq!(clean("/"), "/");
    }
}
