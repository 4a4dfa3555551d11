//! The initramfs of a VM: what its kernel needs, made once, and what a guest needs that does not see the host's files.

use std::path::PathBuf;

use crate::config::Share;
use crate::error::{Error, Result};
use crate::guest::initramfs::packed;
use crate::guest::initramfs::{self, Init};
use crate::kernel::Kernel;
use crate::store::{Key, Store};
use crate::vm::root::kit::Kit;
use crate::vm::spec::VmSpec;
use crate::vm::transport::candidates::{self, Transport};
use crate::vm::transport::drivers::{Driver, Drivers};

/// The initramfs of a VM.
pub(crate) struct Initramfs {
    /// What it is made of, one behind the other.
    pub(crate) segments: Vec<Vec<u8>>,
    /// Tells the first segment, by far the largest, from others: hashing it for every start would take as long as a start.
    base: Key,
}

impl Initramfs {
    /// Tells it from others.
    pub(crate) fn digest(&self) -> Key {
        let rest = self.segments.iter().skip(1).map(Vec::as_slice);
        Key::of_bytes([self.base.as_str().as_bytes()].into_iter().chain(rest))
    }

    #[cfg(test)]
    pub(crate) fn of_segments(segments: &[&[u8]]) -> Self {
        let segments: Vec<Vec<u8>> = segments.iter().map(|segment| segment.to_vec()).collect();
        Self { base: Key::of_bytes(segments.iter().map(Vec::as_slice)), segments }
    }

    pub(crate) fn prepare(
        spec: &VmSpec,
        drivers: &Drivers,
        transport: &Transport,
        kit: Option<&Kit>,
        store: &Store,
    ) -> Result<Self> {
        let names = |drivers: Vec<Driver>| drivers.into_iter().map(|driver| driver.module).collect::<Vec<_>>();
        let channel = names(candidates::channel_drivers(transport.channel));
        let mut others = names(candidates::share_drivers(transport.share));
        others.extend(names(spec.drivers()));
        others.extend(OPTIONAL);
        others.extend(spec.modules.iter().map(String::as_str));
        let init = Init::of(spec.kernel.arch)?;
        let (base, segment) = Self::base(init, &spec.kernel, drivers, &channel, &others, store)?;
        let mut segments = vec![segment];
        segments.push(packed::libraries_of_init(init)?);
        if transport.share == Share::Packed {
            let mut renamed: Vec<_> =
                spec.kernel.config.iter().map(|config| (config.clone(), config_of(&spec.kernel))).collect();
            renamed.extend(kit.map(Kit::packed).transpose()?.into_iter().flatten());
            let has_copy = |program: &&PathBuf| kit.is_some_and(|kit| kit.has(program));
            let programs: Vec<PathBuf> = spec.packed.iter().filter(|program| !has_copy(program)).cloned().collect();
            segments.push(packed::segment(&programs, &spec.packed_directories, &renamed)?);
        }
        Ok(Self { segments, base })
    }

    /// What depends on the kernel alone is made once and kept: decompressing modules takes longer than all else here.
    fn base(
        init: Init,
        kernel: &Kernel,
        drivers: &Drivers,
        channel: &[&str],
        others: &[&str],
        store: &Store,
    ) -> Result<(Key, Vec<u8>)> {
        let parts = [init.digest, &kernel.key, "channel"];
        let key = Key::of(parts.iter().chain(channel).chain(&["others"]).chain(others));
        let entry = store.populate("initramfs", &key, &|| {}, |staging| {
            let channel = drivers.load(channel)?;
            let mut others = drivers.load(others)?;
            others.retain(|module| channel.iter().all(|loaded| loaded.name != module.name));
            let file = staging.entry().join("initramfs");
            std::fs::write(&file, initramfs::base(init, &channel, &others, &drivers.static_devices()))
                .map_err(|error| Error::path("write", &file, error))
        })?;
        let file = entry.path().join("initramfs");
        let segment = std::fs::read(&file).map_err(|error| Error::path("read", &file, error))?;
        Ok((key, segment))
    }
}

/// Modules that a kernel may lack, for file systems that are mounted only where they are there: nothing asks the kernel to
/// load this one before its mount point exists.
const OPTIONAL: [&str; 1] = ["configfs"];

/// Where a guest finds its kernel's configuration.
pub(crate) fn config_of(kernel: &Kernel) -> PathBuf {
    PathBuf::from(format!("/boot/config-{}", kernel.release))
}
