//! The process of a sandbox: it sleeps, and with it the sandbox's namespaces stay. It owns the program, as bytes; it
//! never starts it and puts it nowhere. As the first process of its namespace it ignores every signal but SIGKILL.

/// pause(2) for ever, for x86-64: `1: mov eax, 34; syscall; jmp 1b`.
const CODE: [u8; 9] = [0xb8, 0x22, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xeb, 0xf7];
/// Where the program is loaded.
const BASE: u64 = 0x40_0000;
/// The sizes of an ELF-64 header and of one program header (elf(5)).
const HEADERS: u64 = 64 + 56;

/// A whole static program (elf(5)) in 129 bytes, so that a sandbox needs nothing from its image.
pub fn program() -> Vec<u8> {
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
