//! What of the store is there, being made, or could not be made; and what goes.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::flatten::{self, Exporter};
use super::{Image, Layers, Pin};

/// How soon a failed attempt is made again.
const RETRY: Duration = Duration::from_secs(30);
/// How the names of folders begin that are being made, or being removed.
const UNFINISHED: &str = "unfinished-";

/// The store. What is in a folder named by a digest is complete, whenever the power was cut.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    /// How long layers stay after the last who needed them: a template is often put back with the same image.
    grace: Duration,
    slots: Mutex<HashMap<String, Slot>>,
    /// Counts up, so that no two unfinished folders have one name.
    count: Mutex<u64>,
    stop: CancellationToken,
}

#[derive(Debug)]
enum Slot {
    Making(watch::Receiver<Progress>),
    Ready { pin: Arc<Pin>, needed: Instant },
    Failed { reason: Arc<str>, since: Instant },
}

/// How far the making is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) bytes: u64,
    pub(super) total: u64,
    ended: bool,
}

/// Why lean has to wait before it makes an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Nobody needed its image's layers yet.
    Unasked,
    /// They are being made: so many bytes of about so many.
    Made(u64, u64),
    /// They could not be made.
    Failed(Arc<str>),
    /// Skep's cgroups were taken away, and can't be made again.
    Cgroups(Arc<str>),
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unasked => write!(
                f,
                "its image is flattened for the lean engine at the first request"
            ),
            Self::Made(bytes, total) => write!(
                f,
                "its image is being flattened for the lean engine, {} of about {} MiB so far; lean takes over then",
                bytes >> 20,
                total >> 20
            ),
            Self::Failed(reason) => write!(f, "its image can't be flattened for the lean engine: {reason}"),
            Self::Cgroups(reason) => f.write_str(reason),
        }
    }
}

impl Store {
    /// Opens it, and removes what an end in the middle left.
    ///
    /// # Errors
    /// What the kernel answers.
    pub(crate) fn open(folder: &Path, grace: Duration) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let mut slots = HashMap::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(UNFINISHED) {
                std::fs::remove_dir_all(entry.path())?;
            } else {
                slots.insert(name, Slot::ready());
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            grace,
            slots: Mutex::new(slots),
            count: Mutex::default(),
            stop: CancellationToken::new(),
        })
    }

    /// Why an image's layers can't be had at once; `None` where they can.
    pub(crate) fn waiting(&self, image: &Image) -> Option<Waiting> {
        match self.lock().get(&image.digest) {
            Some(Slot::Ready { .. }) => None,
            Some(Slot::Making(progress)) => {
                let progress = *progress.borrow();
                Some(Waiting::Made(progress.bytes, progress.total))
            }
            Some(Slot::Failed { reason, .. }) => Some(Waiting::Failed(reason.clone())),
            None => Some(Waiting::Unasked),
        }
    }

    /// Begins to make an image's layers, unless they are there, or somebody does already, or it failed just now.
    pub(crate) fn want(self: &Arc<Self>, exporter: &Exporter, tasks: &TaskTracker, image: &Image) {
        self.begin(&mut self.lock(), exporter, tasks, image);
    }

    /// An image's layers; it waits until they are made.
    ///
    /// # Errors
    /// Why they can't be.
    pub(crate) async fn get(
        self: &Arc<Self>,
        exporter: &Exporter,
        tasks: &TaskTracker,
        image: &Image,
    ) -> Result<Layers, Arc<str>> {
        loop {
            let mut progress = {
                let mut slots = self.lock();
                self.begin(&mut slots, exporter, tasks, image);
                match slots.get_mut(&image.digest) {
                    Some(Slot::Ready { pin, needed }) => {
                        *needed = Instant::now();
                        return Ok(Layers {
                            base: self.folder.display().to_string(),
                            lower: vec![image.digest.clone()],
                            _pin: Some(pin.clone()),
                        });
                    }
                    Some(Slot::Failed { reason, .. }) => return Err(reason.clone()),
                    Some(Slot::Making(progress)) => progress.clone(),
                    None => return Err("Skep is ending".into()),
                }
            };
            // Also where its maker broke off: the next turn begins anew.
            let _ended = progress.wait_for(|progress| progress.ended).await;
        }
    }

    fn begin(
        self: &Arc<Self>,
        slots: &mut HashMap<String, Slot>,
        exporter: &Exporter,
        tasks: &TaskTracker,
        image: &Image,
    ) {
        let stands = match slots.get(&image.digest) {
            Some(Slot::Ready { .. }) => true,
            // The maker's end is closed where it broke off.
            Some(Slot::Making(progress)) => progress.has_changed().is_ok(),
            Some(Slot::Failed { since, .. }) => since.elapsed() < RETRY,
            None => self.stop.is_cancelled(),
        };
        if stands {
            return;
        }
        let (progress, watched) = watch::channel(Progress::default());
        slots.insert(image.digest.clone(), Slot::Making(watched));
        let (store, exporter, image) = (self.clone(), exporter.clone(), image.clone());
        tasks.spawn(async move {
            let made = store.make(&exporter, &image, &progress).await;
            let slot = match made {
                Ok(()) => Slot::ready(),
                Err(error) => {
                    tracing::warn!(image = %image.id, %error, "the image could not be flattened for the lean engine");
                    Slot::Failed {
                        reason: error.to_string().into(),
                        since: Instant::now(),
                    }
                }
            };
            store.lock().insert(image.digest, slot);
            progress.send_modify(|progress| progress.ended = true);
        });
    }

    async fn make(
        &self,
        exporter: &Exporter,
        image: &Image,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), flatten::FlattenError> {
        let begin = Instant::now();
        let unfinished = self.unfinished();
        tracing::info!(image = %image.id, "flattening the image for the lean engine, once");
        let made = tokio::select! {
            made = flatten::flatten(exporter, image, &unfinished, progress) => made,
            () = self.stop.cancelled() => Err(flatten::FlattenError::Ending),
        };
        let (to, from) = (self.folder.join(&image.digest), unfinished);
        let kept = tokio::task::spawn_blocking(move || match made {
            Ok(()) => keep(&from, &to).map_err(flatten::FlattenError::Keep),
            Err(error) => {
                remove(&from);
                Err(error)
            }
        });
        kept.await
            .map_err(|error| flatten::FlattenError::Keep(io::Error::other(error)))??;
        let (bytes, seconds) = (progress.borrow().bytes, begin.elapsed().as_secs());
        tracing::info!(image = %image.id, bytes, seconds, "the image is flattened");
        Ok(())
    }

    /// Removes the layers that none of these images needs and nobody uses, and has not for a while.
    pub(crate) async fn collect(&self, needed_now: &BTreeSet<Image>) {
        let taken: Vec<PathBuf> = {
            let mut slots = self.lock();
            let is_needed = |digest: &str| needed_now.iter().any(|image| image.digest == digest);
            let mut gone = Vec::new();
            for (digest, slot) in slots.iter_mut() {
                let Slot::Ready { pin, needed } = slot else {
                    continue;
                };
                // Pins are only handed out under this lock: one is the store's own.
                if Arc::strong_count(pin) > 1 || is_needed(digest) {
                    *needed = Instant::now();
                } else if needed.elapsed() > self.grace {
                    gone.push(digest.clone());
                }
            }
            slots.retain(|digest, slot| !matches!(slot, Slot::Failed { .. }) || is_needed(digest));
            gone.into_iter()
                .filter_map(|digest| self.take(&mut slots, &digest))
                .collect()
        };
        let removed = tokio::task::spawn_blocking(move || taken.iter().for_each(|folder| remove(folder)));
        if removed.await.is_err() {
            tracing::error!("removing the layers of images that nobody needs broke off");
        }
    }

    /// Takes an image out, so that whoever needs it from now on has it made anew.
    fn take(&self, slots: &mut HashMap<String, Slot>, digest: &str) -> Option<PathBuf> {
        let unfinished = self.unfinished();
        if let Err(error) = std::fs::rename(self.folder.join(digest), &unfinished) {
            tracing::warn!(image = digest, %error, "an image's layers can't be removed");
            return None;
        }
        slots.remove(digest);
        tracing::info!(
            image = digest,
            "the layers of an image that nobody needs are removed"
        );
        Some(unfinished)
    }

    /// Breaks off what is being made; nothing more is begun.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    fn unfinished(&self) -> PathBuf {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        self.folder.join(format!("{UNFINISHED}{count}"))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn ready() -> Self {
        Self::Ready {
            pin: Arc::new(Pin),
            needed: Instant::now(),
        }
    }
}

/// Gives a folder its name once all that is in it is on the disk.
fn keep(from: &Path, to: &Path) -> io::Result<()> {
    rustix::fs::syncfs(std::fs::File::open(from)?)?;
    std::fs::rename(from, to)?;
    let parent = to.parent().unwrap_or(to);
    std::fs::File::open(parent)?.sync_all()
}

fn remove(folder: &Path) {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), %error, "layers that nobody needs could not be removed; the next start does");
        }
        _ => {}
    }
}
