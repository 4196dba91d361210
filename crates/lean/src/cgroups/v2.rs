//! Cgroup v2: one tree. Instances that may use the same devices stand in one folder, which a program of the kernel
//! guards for all of them, so that none of them needs a program attached at its start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use skep_model::Namespace;
use skep_spawner::{CgroupDirectory, Tree};

use super::home::Home;
use super::{Freezer, MOUNT, end, folders, kill_each, writable};
use crate::limits::{Conversions, Limits};

/// What instances can't do without.
const NEEDED: [&str; 3] = ["cpu", "memory", "pids"];

/// What this node's version 2 has.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnifiedFacts {
    controllers: Vec<String>,
    /// The names of the files in some cgroup below the root, each of which stands for a part of the kernel.
    files: BTreeSet<String>,
}

impl UnifiedFacts {
    /// Whether cgroups have this file here.
    pub(crate) fn has(&self, file: &str) -> bool {
        self.files.contains(file)
    }

    #[cfg(test)]
    pub(crate) fn with_files(files: &[&str]) -> Self {
        Self {
            controllers: Vec::new(),
            files: files.iter().map(|file| (*file).to_owned()).collect(),
        }
    }
}

/// Looks, and loads a program to see whether the kernel takes it; changes nothing.
pub(super) fn probe(conversions: Conversions) -> Result<UnifiedFacts, Vec<String>> {
    let mut reasons = Vec::new();
    let controllers = words(&Path::new(MOUNT).join("cgroup.controllers"));
    let missing: Vec<&str> = NEEDED
        .into_iter()
        .filter(|needed| !controllers.iter().any(|known| known == needed))
        .collect();
    if !missing.is_empty() {
        reasons.push(format!(
            "cgroup v2 has no controllers {} here (kernel parameter cgroup_enable=memory, or a container that \
             does not see the host's cgroups: run it with --cgroupns host)",
            missing.join(", ")
        ));
    }
    if !writable(Path::new(MOUNT)) {
        reasons.push(
            "the cgroup tree in /sys/fs/cgroup can't be written (in a container: run it with --cgroupns host \
             -v /sys/fs/cgroup:/sys/fs/cgroup:rw)"
                .to_owned(),
        );
    }
    if let Err(error) = skep_sys::load_device_program(&Limits::usual(conversions).device_program()) {
        reasons.push(format!(
            "the kernel takes no program that guards devices on cgroup v2, which needs CAP_BPF or CAP_SYS_ADMIN: {error}"
        ));
    }
    if !reasons.is_empty() {
        return Err(reasons);
    }
    // The root has fewer files than those below it, of which any that stands will do.
    let first = folders(Path::new(MOUNT));
    let second = first.iter().flat_map(|folder| folders(folder));
    let files = first
        .iter()
        .cloned()
        .chain(second)
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    Ok(UnifiedFacts { controllers, files })
}

fn words(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Skep's tree for one namespace.
#[derive(Debug)]
pub(crate) struct Cgroups {
    home: Home,
    controllers: Vec<String>,
    /// The folders that were made, and the program that guards each.
    guarded: Mutex<BTreeMap<PathBuf, Vec<u64>>>,
}

impl Cgroups {
    pub(super) fn prepare(
        facts: &UnifiedFacts,
        namespace: &Namespace,
        usual: &Limits,
    ) -> Result<Self, String> {
        let home = Home::find(namespace, &facts.controllers)?;
        for left in folders(home.folder()) {
            end_all(&left);
        }
        let own = Self {
            home,
            controllers: facts.controllers.clone(),
            guarded: Mutex::default(),
        };
        // The folder of nearly every template; what can't be done with it can't be done at all.
        own.tree(usual).map_err(|error| {
            format!(
                "cgroups can't be made in {}: {error}",
                own.home.folder().display()
            )
        })?;
        Ok(own)
    }

    /// The folder of all whose devices these are.
    fn folder(&self, limits: &Limits) -> PathBuf {
        self.home
            .folder()
            .join(format!("devices-{:016x}", digest(&limits.device_program())))
    }

    pub(super) fn tree(&self, limits: &Limits) -> io::Result<Tree> {
        let folder = self.folder(limits);
        let mut guarded = self.guarded.lock().unwrap_or_else(PoisonError::into_inner);
        if !guarded.contains_key(&folder) {
            let program = limits.device_program();
            guard(&folder, &program)?;
            enable(&folder, &self.controllers);
            guarded.insert(folder.clone(), program);
        }
        drop(guarded);
        let settings = limits.settings.iter();
        let directory = CgroupDirectory {
            name: String::new(),
            parent: folder.display().to_string(),
            settings: settings
                .map(|setting| (setting.file.to_owned(), setting.text.clone()))
                .collect(),
        };
        Ok(Tree {
            directories: vec![directory],
            unified: true,
        })
    }

    pub(super) fn is_kept(&self) -> bool {
        self.home.is_kept()
    }

    /// Makes what is missing of the tree; whether anything was. It waits for systemd.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(super) fn mend(&self) -> Result<bool, String> {
        // A copy: whoever asks for a tree does not wait for systemd.
        let guarded = self
            .guarded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let is_gone = |folder: &&PathBuf| !folder.is_dir();
        let home = self.home.folder();
        let whole = self.home.is_kept() && home.is_dir();
        if whole && !writable(home) {
            return Err(format!("{} is read-only", home.display()));
        }
        if whole && !guarded.keys().any(|folder| is_gone(&folder)) {
            return Ok(false);
        }
        self.home.make_again()?;
        for (folder, program) in guarded.iter().filter(|(folder, _)| is_gone(folder)) {
            let made = guard_unused(self.home.folder(), folder, program);
            made.map_err(|error| format!("the cgroup {} can't be made: {error}", folder.display()))?;
            enable(folder, &self.controllers);
        }
        Ok(true)
    }

    pub(super) fn freezer(&self, limits: &Limits, instance: &str) -> Freezer {
        Freezer {
            file: self.folder(limits).join(instance).join("cgroup.freeze"),
            frozen: "1",
            thawed: "0",
        }
    }

    /// Ends every instance, and removes what it had.
    pub(super) fn clear(&self) {
        for guarded in folders(self.home.folder()) {
            for instance in folders(&guarded) {
                end_all(&instance);
            }
        }
    }

    pub(super) fn remove(&self) {
        for folder in folders(self.home.folder()) {
            end_all(&folder);
        }
        self.home.leave();
    }
}

/// A folder with its program before its devices; it guards every cgroup below, and goes with the folder.
fn guard(folder: &Path, program: &[u64]) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let program = skep_sys::load_device_program(program)?;
    skep_sys::attach_device_program(File::open(folder)?.as_fd(), program.as_fd())
}

/// The same for a folder that somebody is about to make an instance's cgroup in, the moment that it stands: until it
/// has its program, nobody can.
fn guard_unused(home: &Path, folder: &Path, program: &[u64]) -> io::Result<()> {
    let bound = home.join("cgroup.max.descendants");
    let mut made = Err(io::ErrorKind::WouldBlock.into());
    for _ in 0..TRIES {
        // Room for one more, which may be taken by an instance in a folder that stands.
        fs::write(&bound, (descendants(home) + 1).to_string())?;
        made = match fs::create_dir(folder) {
            Ok(()) => guard(folder, program),
            failed => failed,
        };
        if !matches!(&made, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            break;
        }
    }
    fs::write(&bound, "max")?;
    made
}

/// How often a folder's place is tried for.
const TRIES: u32 = 100;

/// How many cgroups stand below one.
fn descendants(folder: &Path) -> u64 {
    let text = fs::read_to_string(folder.join("cgroup.stat")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("nr_descendants "));
    line.and_then(|count| count.parse().ok()).unwrap_or_default()
}

/// Gives the cgroups below a folder their controllers. One that can't be given shows when a limit is written.
pub(super) fn enable(folder: &Path, controllers: &[String]) {
    let given = words(&folder.join("cgroup.subtree_control"));
    for controller in controllers
        .iter()
        .filter(|controller| !given.contains(controller))
    {
        if let Err(error) = fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}")) {
            tracing::debug!(%controller, folder = %folder.display(), %error, "a cgroup controller can't be given on");
        }
    }
}

/// Those of the needed controllers that are not given on below a folder.
pub(super) fn not_given(folder: &Path) -> Vec<&'static str> {
    let given = words(&folder.join("cgroup.subtree_control"));
    NEEDED
        .into_iter()
        .filter(|needed| !given.iter().any(|known| known == needed))
        .collect()
}

/// Ends what runs in a cgroup and in all below it, and removes them, the lowest first.
pub(super) fn end_all(folder: &Path) {
    // All at once since Linux 5.14; before it a frozen one takes its signal as well.
    if fs::write(folder.join("cgroup.kill"), "1").is_err() {
        kill_each(folder);
    }
    for below in folders(folder) {
        end_all(&below);
    }
    end(folder, kill_each);
}

/// The same for the same program on any machine (FNV-1a).
fn digest(program: &[u64]) -> u64 {
    let bytes = program.iter().flat_map(|instruction| instruction.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
