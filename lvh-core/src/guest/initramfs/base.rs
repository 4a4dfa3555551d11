//! What a guest boots from: lvh-init, the modules that its channel and share need, and for a packed guest its programs.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, memfd_create};

use super::cpio::Archive;
use crate::Arch;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::LoadableModule;

/// lvh-init as our build script built it for one architecture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Init {
    bytes: &'static [u8],
    linking: &'static str,
    /// Tells this lvh-init from others.
    pub(crate) digest: &'static str,
}

impl Init {
    /// That for guests of `arch`.
    ///
    /// # Errors
    /// It was not built: the toolchain had no standard library for that architecture.
    pub(crate) fn of(arch: Arch) -> Result<Self> {
        let init = match arch {
            Arch::X86_64 => Self {
                bytes: include_bytes!(env!("LVH_INIT_X86_64")),
                linking: env!("LVH_INIT_X86_64_LINKING"),
                digest: env!("LVH_INIT_X86_64_DIGEST"),
            },
            Arch::Aarch64 => Self {
                bytes: include_bytes!(env!("LVH_INIT_AARCH64")),
                linking: env!("LVH_INIT_AARCH64_LINKING"),
                digest: env!("LVH_INIT_AARCH64_DIGEST"),
            },
        };
        match init.linking {
            "absent" => Err(Error::new(ErrorKind::Missing, format!("lvh was built without a guest for {arch}"))
                .with_hint(format!("rustup target add {arch}-unknown-linux-musl, then build lvh-core anew"))),
            _ => Ok(init),
        }
    }

    /// The program.
    pub(crate) fn bytes(self) -> &'static [u8] {
        self.bytes
    }

    /// Whether it needs a loader and libraries beside it.
    pub(crate) fn is_dynamic(self) -> bool {
        self.linking == "dynamic"
    }
}

/// The part that every guest of one kernel and one transport shares. Modules are given in load order;
/// `channel` are those without which the guest cannot talk. `devices` is the kernel's list of nodes that bring a module.
pub(crate) fn base(init: Init, channel: &[LoadableModule], others: &[LoadableModule], devices: &[u8]) -> Vec<u8> {
    let mut archive = Archive::default();
    for directory in ["/dev", "/proc", "/sys", "/lvh", "/etc", "/root", "/usr/bin"] {
        archive.directory(directory);
    }
    // The kernel opens the one for PID 1, and lvh-init writes to the other, before devtmpfs is mounted.
    archive.character_device("/dev/console", 5, 1);
    archive.character_device("/dev/kmsg", 1, 11);
    archive.file("/init", 0o755, init.bytes);
    archive.file("/lvh/devices", 0o644, devices);
    add_modules(&mut archive, "/lvh/channel", channel);
    add_modules(&mut archive, "/lvh/modules", others);
    archive.finish()
}

fn add_modules(archive: &mut Archive, directory: &str, modules: &[LoadableModule]) {
    archive.directory(directory);
    for (order, module) in modules.iter().enumerate() {
        archive.file(&format!("{directory}/{order:03}-{}.ko", module.name), 0o644, &module.data);
    }
}

/// Puts segments behind each other in a file without a name, for QEMU to inherit.
pub(crate) fn memory_file(segments: &[Vec<u8>]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("lvh-initramfs", MemfdFlags::CLOEXEC)?);
    segments.iter().try_for_each(|segment| file.write_all(segment))?;
    Ok(file.into())
}
