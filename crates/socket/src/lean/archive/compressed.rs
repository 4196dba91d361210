//! What an archive may be packed with, told by its first bytes, and how much of it is read.

use std::cell::Cell;
use std::io::{self, Chain, Cursor, Read};
use std::rc::Rc;
use std::sync::Arc;

use crate::lean::room::{self, Room};

/// The largest archive, unpacked: as much as may be sent of one that is not packed.
const LARGEST: u64 = 1 << 30;
/// What is read of an archive between two files: headers, and names that are longer than those have room for. They are
/// kept in memory.
const BETWEEN: u64 = 1 << 20;
/// Kibibytes that taking an `xz` archive apart may need: its best level has a dictionary of 64 MiB.
const DICTIONARY: u32 = 68 << 10;

const GZIP: &[u8] = &[0x1f, 0x8b, 0x08];
const BZIP2: &[u8] = b"BZh";
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

type Begun<R> = Chain<Cursor<Vec<u8>>, R>;

/// What is in an archive, whatever it is packed with. `dictionary` waits for a place for one of an `xz` archive.
pub(super) fn unpacked<'a, P: 'a>(
    mut archive: impl Read + 'a,
    dictionary: impl FnOnce() -> io::Result<P>,
) -> io::Result<Box<dyn Read + 'a>> {
    let mut first = Vec::with_capacity(XZ.len());
    archive.by_ref().take(XZ.len() as u64).read_to_end(&mut first)?;
    let is = |magic: &[u8]| first.starts_with(magic);
    let kind = [GZIP, BZIP2, XZ, ZSTD].into_iter().find(|magic| is(magic));
    let whole: Begun<_> = Cursor::new(first).chain(archive);
    Ok(match kind {
        Some(GZIP) => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        Some(BZIP2) => Box::new(bzip2::read::MultiBzDecoder::new(whole)),
        Some(XZ) => Box::new(Xz {
            _place: dictionary()?,
            inner: lzma_rust2::XzReader::new_mem_limit(whole, true, DICTIONARY),
        }),
        Some(_) => {
            let message = "archives packed with zstd are not taken; gzip, bzip2 and xz are";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        None => Box::new(whole),
    })
}

/// Keeps its place for as long as it has a dictionary.
struct Xz<R: Read, P> {
    inner: lzma_rust2::XzReader<R>,
    _place: P,
}

impl<R: Read, P> Read for Xz<R, P> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.inner.read(into)
    }
}

/// Reads an archive for as long as there is room for what is in it.
pub(super) struct Measured<'a> {
    pub(super) inner: Box<dyn Read + 'a>,
    pub(super) room: Arc<Room>,
    left: u64,
    /// What was read since it was last looked how much room there is.
    unlooked: u64,
    between: Between,
}

/// How much may still be read before the next file begins.
#[derive(Clone, Default)]
pub(super) struct Between(Rc<Cell<Option<u64>>>);

impl Between {
    pub(super) fn begins(&self) {
        self.0.set(Some(BETWEEN));
    }

    pub(super) fn ends(&self) {
        self.0.set(None);
    }
}

impl<'a> Measured<'a> {
    pub(super) fn new(inner: Box<dyn Read + 'a>, room: Arc<Room>, between: Between) -> Self {
        Self {
            inner,
            room,
            left: LARGEST,
            unlooked: 0,
            between,
        }
    }
}

impl Read for Measured<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(into)?;
        let read = length as u64;
        let left = self.left.checked_sub(read);
        self.left = left.ok_or_else(|| io::Error::other("the archive is larger than 1 GiB"))?;
        if let Some(between) = self.between.0.get() {
            let left = between.checked_sub(read);
            let left = left.ok_or_else(|| io::Error::other("a name in the archive is too long"))?;
            self.between.0.set(Some(left));
        }
        self.unlooked += read;
        if self.unlooked >= room::STEP {
            self.unlooked = 0;
            self.room.holds(super::taken())?;
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        unpacked(packed, || Ok(()))?.read_to_end(&mut text).map(|_| text)
    }

    #[test]
    fn what_an_archive_is_packed_with_is_told_by_its_first_bytes() {
        let text = b"an archive ".repeat(1000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&text).unwrap();
        for packed in [&text, &gzip.finish().unwrap(), &bzip2.finish().unwrap()] {
            assert_eq!(read(packed).unwrap(), text);
        }
        assert_eq!(read(b"x").unwrap(), b"x");
        let refused = read(&[ZSTD, b"more"].concat()).unwrap_err().to_string();
        assert!(refused.contains("zstd"), "{refused}");
        assert!(read(&[XZ, b"no more of it"].concat()).is_err());
    }
}
