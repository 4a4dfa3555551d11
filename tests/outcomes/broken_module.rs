//! Kernel modules that break the kernel.
//!
//! Debian's kernels lack lkdtm. So a module of theirs gets other machine code where its init function begins. Without
//! its signature it is one that nobody signed, which the kernel takes, and a changed one with it is not.

use std::io::Write;
use std::ops::Range;
use std::process::{Command, Stdio};
use std::{fs, io};

/// What the module's init function does, as x86-64 code.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Writes to address 0.
    Null,
    /// An undefined instruction.
    Undefined,
    /// Reads from an address that is not canonical.
    Protection,
    /// Runs in circles for 2^34 ticks of the time stamp counter, some seconds; the module is refused then.
    Spins,
    /// Runs in circles.
    SpinsForEver,
}

impl Fault {
    fn code(self) -> &'static [u8] {
        match self {
            // xor eax, eax; mov [rax], eax
            Self::Null => b"\x31\xc0\x89\x00",
            // ud2
            Self::Undefined => b"\x0f\x0b",
            // movabs rax, 1 << 63; mov eax, [rax]
            Self::Protection => b"\x48\xb8\0\0\0\0\0\0\0\x80\x8b\x00",
            // rdtsc; shl rdx, 32; or rax, rdx; mov rcx, rax
            // again: rdtsc; shl rdx, 32; or rdx, rax; sub rdx, rcx; shr rdx, 34; jz again; or eax, -1; ret
            // again: pause; jmp again
            Self::SpinsForEver => b"\xf3\x90\xeb\xfc",
            Self::Spins => {
                b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\x48\x89\xc1\
                  \x0f\x31\x48\xc1\xe2\x20\x48\x09\xc2\x48\x29\xca\x48\xc1\xea\x22\x74\xee\x83\xc8\xff\xc3"
            }
        }
    }
}

/// Loads the module `path` (below the kernel's own modules) with `fault` in it; of faults that kill, the calling thread
/// does not return.
pub(crate) fn load(path: &str, fault: Fault) -> io::Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let packed = fs::read(format!("/lib/modules/{}/kernel/{path}.ko.xz", release.trim())).unwrap();
    let mut module = unpack(packed);
    strip_signature(&mut module);
    Elf(&mut module).replace_init(fault.code());
    // SAFETY: the buffer and the string live through the call.
    match unsafe { libc::syscall(libc::SYS_init_module, module.as_ptr(), module.len(), c"".as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn unpack(packed: Vec<u8>) -> Vec<u8> {
    let mut xz = Command::new("xz").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("xz-utils");
    let mut input = xz.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(&packed));
    let output = xz.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// What scripts/sign-file of the kernel appends: the signature, 12 bytes that end with its big-endian length, a magic.
fn strip_signature(module: &mut Vec<u8>) {
    const MAGIC: &[u8] = b"~Module signature appended~\n";
    if let Some(body) = module.strip_suffix(MAGIC) {
        let length = u32::from_be_bytes(body[body.len() - 4..].try_into().unwrap()) as usize;
        module.truncate(body.len() - 12 - length);
    }
}

/// A relocatable ELF64 file, little-endian; offsets as in elf(5).
struct Elf<'a>(&'a mut [u8]);

/// What is needed of a section's header.
struct Section {
    kind: u32,
    offset: usize,
    size: usize,
    link: usize,
    info: usize,
}

const SYMBOLS: u32 = 2;
const RELOCATIONS: u32 = 4;

impl Elf<'_> {
    fn number(&self, at: usize, length: usize) -> usize {
        self.0[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    }

    fn section(&self, index: usize) -> Section {
        let at = self.number(0x28, 8) + 64 * index;
        Section {
            kind: self.number(at + 4, 4) as u32,
            offset: self.number(at + 24, 8),
            size: self.number(at + 32, 8),
            link: self.number(at + 40, 4),
            info: self.number(at + 44, 4),
        }
    }

    fn sections(&self, kind: u32) -> Vec<Section> {
        let all = (0..self.number(0x3c, 2)).map(|index| self.section(index));
        all.filter(|section| section.kind == kind).collect()
    }

    /// The section of `init_module`, and where in it the function is.
    fn init(&self) -> (usize, Range<usize>) {
        let symbols = &self.sections(SYMBOLS)[0];
        let names = self.section(symbols.link).offset;
        let is_init = |at: &usize| self.0[names + self.number(*at, 4)..].starts_with(b"init_module\0");
        let symbol = (symbols.offset..symbols.offset + symbols.size).step_by(24).find(is_init).unwrap();
        let start = self.number(symbol + 8, 8);
        (self.number(symbol + 6, 2), start..start + self.number(symbol + 16, 8))
    }

    fn replace_init(&mut self, code: &[u8]) {
        let (index, function) = self.init();
        let offset = self.section(index).offset;
        let mut start = function.start;
        // ENDBR64 and the call of ftrace's, which it checks, stay.
        for (head, length) in [(&b"\xf3\x0f\x1e\xfa"[..], 4), (b"\xe8", 5)] {
            start += if self.0[offset + start..].starts_with(head) { length } else { 0 };
        }
        let replaced = start..start + code.len();
        assert!(replaced.end <= function.end, "{} bytes are not enough", function.len());
        self.0[offset + start..][..code.len()].copy_from_slice(code);
        for table in self.sections(RELOCATIONS).iter().filter(|table| table.info == index) {
            for entry in (table.offset..table.offset + table.size).step_by(24) {
                // R_X86_64_NONE is 0. One that begins before the code would reach into it at most by 3 bytes.
                if replaced.contains(&self.number(entry, 8)) {
                    self.0[entry + 8..entry + 12].fill(0);
                }
            }
        }
    }
}
