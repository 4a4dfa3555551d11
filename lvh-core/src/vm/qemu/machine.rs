//! The machine types that lvh knows.

/// The processor architecture of a guest; always that of the program that runs in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm. Untested: we have no such machine.
    Aarch64,
}

impl Arch {
    /// The architecture this program was compiled for.
    pub fn host() -> Self {
        if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 }
    }

    /// QEMU's program for it.
    pub fn qemu(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86_64",
            Self::Aarch64 => "qemu-system-aarch64",
        }
    }

    /// `q35`, not `microvm`: under TCG the latter hangs while it calibrates its clock, and saves little.
    pub fn machine(self) -> &'static str {
        match self {
            Self::X86_64 => "q35",
            Self::Aarch64 => "virt",
        }
    }

    /// The first serial port's name in the guest.
    pub fn console(self) -> &'static str {
        match self {
            Self::X86_64 => "ttyS0",
            Self::Aarch64 => "ttyAMA0",
        }
    }

    /// The second serial port's name in the guest, where the machine has one.
    pub fn second_serial(self) -> Option<&'static str> {
        (self == Self::X86_64).then_some("ttyS1")
    }

    /// QEMU's `-cpu` under TCG. On arm64 `max` emulates pointer authentication in a way that is ten times slower.
    pub fn tcg_cpu(self) -> &'static str {
        match self {
            Self::X86_64 => "max",
            Self::Aarch64 => "max,pauth-impdef=on",
        }
    }
}
