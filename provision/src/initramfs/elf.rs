//! What must be known of programs and modules: whether they run alone, and which firmware they ask for.

use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection, elf};

/// Whether this is an x86-64 program that needs no loader and no libraries.
pub(super) fn runs_alone(program: &[u8]) -> bool {
    let Ok(file) = ElfFile64::<Endianness>::parse(program) else {
        return false;
    };
    let endian = file.endian();
    let header = file.elf_header();
    header.e_machine(endian) == elf::EM_X86_64
        && file
            .elf_program_headers()
            .iter()
            .all(|part| part.p_type(endian) != elf::PT_INTERP)
}

/// The firmware files that a module may ask for, relative to the firmware's directory.
/// None where the bytes are no module.
pub(super) fn firmware(module: &[u8]) -> Option<Vec<String>> {
    let file = ElfFile64::<Endianness>::parse(module).ok()?;
    let info = match file.section_by_name(".modinfo") {
        Some(section) => section.data().ok()?,
        None => return None,
    };
    Some(
        info.split(|&byte| byte == 0)
            .filter_map(|field| field.strip_prefix(b"firmware="))
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busybox_static_runs_alone_and_this_test_does_not() {
        let busybox = std::fs::read("/bin/busybox").expect("busybox-static is installed");
        assert!(runs_alone(&busybox));
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(!runs_alone(&this));
        assert!(!runs_alone(b"#!/bin/sh\n"));
    }

    #[test]
    fn what_is_no_module_has_no_firmware() {
        assert_eq!(firmware(b"text"), None);
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(firmware(&this), None);
    }
}
