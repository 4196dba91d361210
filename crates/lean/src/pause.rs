//! The process of a sandbox: it sleeps, and with it the sandbox's network namespace stays.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// pause(2) for ever, for x86-64: `1: mov eax, 34; syscall; jmp 1b`.
const CODE: [u8; 9] = [0xb8, 0x22, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xeb, 0xf7];
/// Where the program is loaded.
const BASE: u64 = 0x40_0000;
/// The sizes of an ELF-64 header and of one program header (elf(5)).
const HEADERS: u64 = 64 + 56;

/// A whole static program (elf(5)) in 129 bytes, so that a sandbox needs nothing from its image.
fn program() -> Vec<u8> {
    let size = HEADERS + CODE.len() as u64;
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let half = |elf: &mut Vec<u8>, value: u16| elf.extend(value.to_le_bytes());
    let word = |elf: &mut Vec<u8>, value: u32| elf.extend(value.to_le_bytes());
    let long = |elf: &mut Vec<u8>, value: u64| elf.extend(value.to_le_bytes());
    half(&mut elf, 2); // e_type: an executable
    half(&mut elf, 62); // e_machine: x86-64
    word(&mut elf, 1); // e_version
    long(&mut elf, BASE + HEADERS); // e_entry
    long(&mut elf, 64); // e_phoff
    long(&mut elf, 0); // e_shoff
    word(&mut elf, 0); // e_flags
    for value in [64, 56, 1, 64, 0, 0] {
        half(&mut elf, value); // the headers' sizes and numbers
    }
    word(&mut elf, 1); // p_type: to be loaded
    word(&mut elf, 5); // p_flags: read and execute
    for value in [0, BASE, BASE, size, size, 0x1000] {
        long(&mut elf, value); // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
    }
    elf.extend(CODE);
    elf
}

/// Puts the program into a folder, in place of an older one; gives its path.
pub(crate) fn install(folder: &Path) -> io::Result<PathBuf> {
    let (path, fresh) = (folder.join("pause"), folder.join("pause.new"));
    fs::write(&fresh, program())?;
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
