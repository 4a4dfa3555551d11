//! What QEMU has for each architecture.

use crate::Arch;

impl Arch {
    /// QEMU's program for it.
    pub(crate) fn qemu(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86_64",
            Self::Aarch64 => "qemu-system-aarch64",
        }
    }

    /// `q35`, not `microvm`: under TCG the latter hangs while it calibrates its clock, and saves little.
    pub(crate) fn machine(self) -> &'static str {
        match self {
            Self::X86_64 => "q35",
            Self::Aarch64 => "virt",
        }
    }

    /// The first serial port's name in the guest.
    pub(crate) fn console(self) -> &'static str {
        match self {
            Self::X86_64 => "ttyS0",
            Self::Aarch64 => "ttyAMA0",
        }
    }

    /// The second serial port's name in the guest, where the machine has one.
    pub(crate) fn second_serial(self) -> Option<&'static str> {
        (self == Self::X86_64).then_some("ttyS1")
    }

    /// QEMU's `-cpu` under TCG. Without `erms` and `fsrm` the kernel clears and copies memory by eight bytes: by single ones, as these
    /// tell it to, a page takes TCG five times as long. On arm64 `max` emulates pointer authentication in a way that is ten times
    /// slower.
    pub(crate) fn tcg_cpu(self) -> &'static str {
        match self {
            Self::X86_64 => "max,-erms,-fsrm",
            Self::Aarch64 => "max,pauth-impdef=on",
        }
    }
}

/// Whether this machine is itself a guest of QEMU's TCG, as the leaf says that hypervisors have for their names.
#[cfg(target_arch = "x86_64")]
pub(crate) fn on_tcg() -> bool {
    #[allow(unused_unsafe, reason = "the call is safe in newer versions of Rust")]
    // SAFETY: every processor of x86-64 has the instruction.
    let leaf = unsafe { std::arch::x86_64::__cpuid(0x4000_0000) };
    [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes).as_flattened() == b"TCGTCGTCGTCG"
}

/// On other machines nothing depends on it.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn on_tcg() -> bool {
    false
}
