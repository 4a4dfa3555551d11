//! Processor architectures.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The processor architecture of a kernel, of the guest that boots it and of lvh-init in that guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm. Tried under TCG alone: we have no such machine.
    Aarch64,
}

impl Arch {
    /// The architecture that this program was compiled for.
    pub const HOST: Self = if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 };

    /// Its name in Rust's targets and in the names of QEMU's programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Debian's and OCI's name of it.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// That of the program `file`; none where it is no ELF file of an architecture that lvh knows, such as a script.
    pub fn of_program(file: &Path) -> Option<Self> {
        let mut head = [0; HEAD];
        File::open(file).and_then(|mut file| file.read_exact(&mut head)).ok()?;
        Self::of_elf(&head)
    }

    /// As [`Arch::of_program`], by how the file begins.
    pub(crate) fn of_elf(bytes: &[u8]) -> Option<Self> {
        const EM_X86_64: &[u8] = &62u16.to_le_bytes();
        const EM_AARCH64: &[u8] = &183u16.to_le_bytes();
        match bytes.get(18..HEAD).filter(|_| bytes.starts_with(b"\x7fELF\x02\x01"))? {
            EM_X86_64 => Some(Self::X86_64),
            EM_AARCH64 => Some(Self::Aarch64),
            _ => None,
        }
    }
}

/// Up to `e_machine`, in bytes.
const HEAD: usize = 20;

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_tell_their_architecture() {
        let dir = tempfile::tempdir().unwrap();
        let check = |head: &[u8], expected: Option<Arch>| {
            let file = dir.path().join("program");
            std::fs::write(&file, head).unwrap();
            assert_eq!(Arch::of_program(&file), expected, "{head:?}");
        };
        let elf = |class: u8, machine: u8| [b"\x7fELF".as_slice(), &[class, 1], &[0; 12], &[machine, 0, 1]].concat();
        check(&elf(2, 62), Some(Arch::X86_64));
        check(&elf(2, 183), Some(Arch::Aarch64));
        check(&elf(2, 243), None);
        check(&elf(1, 62), None);
        check(b"#!/bin/sh\necho of no architecture\n", None);
        check(b"\x7fELF", None);
        assert_eq!(Arch::of_program(&std::env::current_exe().unwrap()), Some(Arch::HOST));
        assert_eq!(Arch::of_program(dir.path()), None);
    }
}
