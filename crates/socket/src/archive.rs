//! A tar archive with one symbolic link in it (POSIX.1-1988 `ustar`), as the daemon unpacks it into a container.

/// An archive for the root of a container.
#[derive(Debug)]
pub(crate) struct Archive(pub(crate) Vec<u8>);

impl Archive {
    /// A link at `place`, which is relative to the root, to `target`. Both are shorter than 100 bytes.
    pub(crate) fn link(place: &str, target: &str) -> Self {
        // A header of 512 bytes, and two empty ones that end the archive.
        let mut bytes = vec![0; 3 * 512];
        let mut set = |at: usize, text: &[u8]| bytes[at..at + text.len()].copy_from_slice(text);
        set(0, place.as_bytes());
        set(100, b"0000777\0");
        for owner in [108, 116] {
            set(owner, b"0000000\0");
        }
        for number in [124, 136] {
            set(number, b"00000000000\0");
        }
        // The sum is taken with blanks in its own place.
        set(148, b"        ");
        set(156, b"2");
        set(157, target.as_bytes());
        set(257, b"ustar\x0000");
        let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
        bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn tar_reads_a_link_in_it_and_nothing_else() {
        let Archive(bytes) = Archive::link("var/run/docker.sock", "/run/skep/docker.sock");
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut entries = archive.entries().unwrap();
        let entry = entries.next().unwrap().unwrap();
        assert_eq!(&*entry.path_bytes(), b"var/run/docker.sock");
        assert_eq!(&*entry.link_name_bytes().unwrap(), b"/run/skep/docker.sock");
        assert!(entry.header().entry_type().is_symlink());
        assert!(entries.next().is_none());
    }
}
