//! The build context: a directory as a tar stream, made while it is sent.

use super::ignore::Ignore;
use crate::error::DeployError;
use bytes::Bytes;
use futures::Stream;
use skep_compose::Build;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Bytes that a chunk of the stream holds at most.
const CHUNK: usize = 64 * 1024;
/// No Dockerfile comes near this.
const LARGEST_DOCKERFILE: u64 = 4 << 20;
/// What a Dockerfile from outside the context is called inside it.
const OUTSIDE: &str = ".skep.Dockerfile";

/// Which file could not be read.
#[derive(Debug)]
pub(super) struct ContextError {
    pub(super) path: PathBuf,
    pub(super) source: io::Error,
}

impl ContextError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { path, source }
    }

    /// Whether the engine stopped reading, rather than a file being unreadable.
    pub(super) fn is_hang_up(&self) -> bool {
        self.source.kind() == io::ErrorKind::BrokenPipe
    }
}

impl From<ContextError> for DeployError {
    fn from(error: ContextError) -> Self {
        Self::File {
            path: error.path,
            source: error.source,
        }
    }
}

/// A context that is about to be sent.
pub(super) struct Context {
    directory: PathBuf,
    /// The Dockerfile's name inside the context.
    dockerfile: String,
    /// Its text, where it does not lie in the context.
    outside: Option<Vec<u8>>,
    ignore: Ignore,
    /// The text of the `.dockerignore` that the engine gets to see.
    ignore_text: String,
}

impl Context {
    /// Reads the Dockerfile's place and the `.dockerignore`.
    pub(super) fn prepare(build: &Build) -> Result<Self, ContextError> {
        let directory = PathBuf::from(&build.context);
        let real = directory.canonicalize().map_err(ContextError::at(&directory))?;
        let mut outside = build
            .dockerfile_inline
            .as_ref()
            .map(|text| text.clone().into_bytes());
        let mut dockerfile = build
            .dockerfile
            .clone()
            .unwrap_or_else(|| String::from("Dockerfile"));
        if outside.is_none() {
            let path = directory.join(&dockerfile);
            let found = path.canonicalize().map_err(ContextError::at(&path))?;
            match found.strip_prefix(&real) {
                Ok(_) if !Path::new(&dockerfile).is_absolute() => {
                    dockerfile = dockerfile.trim_start_matches("./").to_owned();
                }
                Ok(inside) => dockerfile = inside.to_string_lossy().into_owned(),
                Err(_) => {
                    let mut text = Vec::new();
                    fs::File::open(&found)
                        .and_then(|file| file.take(LARGEST_DOCKERFILE).read_to_end(&mut text))
                        .map_err(ContextError::at(&path))?;
                    outside = Some(text);
                }
            }
        }
        let mut ignore_text = ignore_text(&directory, &dockerfile)?;
        if outside.is_some() {
            OUTSIDE.clone_into(&mut dockerfile);
            // So that COPY . does not see what is not in the directory.
            ignore_text.push_str(&format!("\n{OUTSIDE}\n"));
        }
        Ok(Self {
            ignore: Ignore::parse(&ignore_text),
            directory: real,
            dockerfile,
            outside,
            ignore_text,
        })
    }

    pub(super) fn dockerfile_name(&self) -> &str {
        &self.dockerfile
    }

    /// Writes the tar: entries in the order of their names, owned by root as
    /// the docker command has them, so that one content gives one cache key.
    fn write(&self, output: impl Write) -> Result<(), ContextError> {
        let mut archive = tar::Builder::new(output);
        archive.follow_symlinks(false);
        self.append_directory(&mut archive, &PathBuf::new())?;
        if let Some(text) = &self.outside {
            append_text(&mut archive, &self.dockerfile, text)?;
            append_text(&mut archive, ".dockerignore", self.ignore_text.as_bytes())?;
        }
        archive
            .into_inner()
            .and_then(|mut output| output.flush())
            .map_err(ContextError::at(&self.directory))
    }

    fn append_directory<W: Write>(
        &self,
        archive: &mut tar::Builder<W>,
        relative: &Path,
    ) -> Result<(), ContextError> {
        let directory = self.directory.join(relative);
        let mut entries = fs::read_dir(&directory)
            .and_then(Iterator::collect::<io::Result<Vec<_>>>)
            .map_err(ContextError::at(&directory))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let relative = relative.join(entry.file_name());
            let path = entry.path();
            let metadata = entry.metadata().map_err(ContextError::at(&path))?;
            let needed = self.is_needed(&relative);
            if metadata.is_dir() {
                // An exception may lie deeper.
                if needed {
                    self.append(archive, &relative, &path, &metadata)?;
                }
                if needed || self.ignore.has_exceptions() {
                    self.append_directory(archive, &relative)?;
                }
            } else if needed {
                self.append(archive, &relative, &path, &metadata)?;
            }
        }
        Ok(())
    }

    /// The builder itself needs its Dockerfile and `.dockerignore`.
    fn is_needed(&self, relative: &Path) -> bool {
        if self.outside.is_some() && relative == Path::new(".dockerignore") {
            return false;
        }
        relative == Path::new(&self.dockerfile)
            || relative == Path::new(".dockerignore")
            || !self.ignore.excludes(relative)
    }

    fn append<W: Write>(
        &self,
        archive: &mut tar::Builder<W>,
        relative: &Path,
        path: &Path,
        metadata: &fs::Metadata,
    ) -> Result<(), ContextError> {
        let mut header = tar::Header::new_gnu();
        header.set_metadata(metadata);
        header.set_uid(0);
        header.set_gid(0);
        let kind = metadata.file_type();
        if kind.is_symlink() {
            // Kept as a link: what it points to may lie outside.
            let target = fs::read_link(path).map_err(ContextError::at(path))?;
            header.set_size(0);
            return archive
                .append_link(&mut header, relative, target)
                .map_err(ContextError::at(path));
        }
        if kind.is_dir() {
            header.set_size(0);
            return archive
                .append_data(&mut header, relative, io::empty())
                .map_err(ContextError::at(path));
        }
        if !kind.is_file() {
            // Sockets, pipes and devices have no place in an image.
            return Ok(());
        }
        let file = fs::File::open(path).map_err(ContextError::at(path))?;
        let mut exact = Exact {
            file,
            left: metadata.len(),
        };
        archive
            .append_data(&mut header, relative, &mut exact)
            .map_err(ContextError::at(path))
    }
}

/// A `Dockerfile.dockerignore` beside the Dockerfile wins over the context's.
fn ignore_text(directory: &Path, dockerfile: &str) -> Result<String, ContextError> {
    let own = directory.join(format!("{dockerfile}.dockerignore"));
    for path in [own, directory.join(".dockerignore")] {
        match fs::read_to_string(&path) {
            Ok(text) => return Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(ContextError::at(&path)(error)),
        }
    }
    Ok(String::new())
}

fn append_text<W: Write>(archive: &mut tar::Builder<W>, name: &str, text: &[u8]) -> Result<(), ContextError> {
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    archive
        .append_data(&mut header, name, text)
        .map_err(ContextError::at(Path::new(name)))
}

/// Gives exactly as many bytes as the tar header promises: a file may grow
/// or shrink while it is read.
struct Exact {
    file: fs::File,
    left: u64,
}

impl Read for Exact {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.file.read(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file became shorter while it was read",
            ));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Sends chunks to the request's body; waits while the engine is busy.
struct Chunks {
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl Write for Chunks {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.sender
            .blocking_send(Ok(Bytes::copy_from_slice(buffer)))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts writing the tar on a thread of its own. The body ends with an error
/// where a file cannot be read, which makes the engine give up the build.
pub(super) fn send(
    context: Context,
) -> (
    impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    JoinHandle<Result<(), ContextError>>,
) {
    let (sender, receiver) = mpsc::channel(8);
    let writer = tokio::task::spawn_blocking(move || {
        let output = io::BufWriter::with_capacity(
            CHUNK,
            Chunks {
                sender: sender.clone(),
            },
        );
        let outcome = context.write(output);
        if let Err(error) = &outcome {
            // Nobody listens any more where the engine has hung up.
            let _ = sender.blocking_send(Err(io::Error::from(error.source.kind())));
        }
        outcome
    });
    let chunks = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    (chunks, writer)
}
