//! How many VMs there is room for.

use std::num::NonZero;
use std::path::Path;
use std::sync::LazyLock;
use std::thread;

use super::limits::{Limit, Limits, meminfo};
use crate::config::{Memory, VmDefaults};
use crate::{Error, ErrorKind, Result};

/// What a VM costs beside the memory it gives its guest, in MiB.
const VM_OVERHEAD_MIB: u64 = 150;

/// How many processes and threads a VM takes, on our side and on QEMU's, about.
pub(crate) const VM_TASKS: u64 = 24;

/// How many VMs a processor serves. A run starts no more than one for each by itself; several runs, shells and what sleeps share them.
const VMS_PER_CPU: usize = 4;

/// The least memory that it makes sense to give a guest, in MiB.
const LEAST_MIB: u64 = 128;

/// The least that a guest gets unless somebody says so, in MiB: a test that fails for want of memory does not tell that it does.
const LEAST_DEFAULT_MIB: u64 = 512;

/// What a VM gets for which somebody asked for so much, or for nothing in particular.
pub fn memory_of_vm(asked: Option<Memory>) -> Memory {
    static DEFAULT: LazyLock<Memory> = LazyLock::new(|| default_memory(&Limits::of_process()));
    asked.unwrap_or_else(|| *DEFAULT)
}

/// What VMs get for which nobody asks, under these limits: less than elsewhere where that does not fit. Where too little would be left, it
/// is what is refused then.
pub(crate) fn default_memory(limits: &Limits) -> Memory {
    let fitting = limits.memory.as_ref().filter(|_| check_limits(limits, VmDefaults::MEMORY).is_err()).map(fitting);
    let useful = fitting.filter(|&mib| mib >= LEAST_DEFAULT_MIB).and_then(|mib| u32::try_from(mib).ok());
    useful.map_or(VmDefaults::MEMORY, Memory::from_mib)
}

/// Why a VM has no more than this by default, where that is less than elsewhere.
pub(crate) fn less_memory(memory: Memory) -> Option<String> {
    let limit = Limits::of_process().memory.filter(|_| memory < VmDefaults::MEMORY)?;
    Some(format!(
        "VMs have `memory = \"{memory}\"` by default, not {}: the limit is {}",
        VmDefaults::MEMORY,
        limit.as_memory()
    ))
}

/// What a VM with this memory takes of the machine's, in MiB.
pub(crate) fn need_of_vm(memory: Memory) -> u64 {
    u64::from(memory.mib()) + VM_OVERHEAD_MIB
}

/// How many VMs may run side by side, whatever else the machine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) vms: usize,
    /// All memory that there is, in MiB.
    pub(crate) memory_mib: u64,
}

impl Room {
    /// Of this machine; `vms` where the user says how many.
    pub(crate) fn of_machine(vms: Option<usize>) -> Self {
        let cpus = || thread::available_parallelism().map_or(1, NonZero::get);
        Self::of(Path::new("/"), &Limits::of_process(), vms.unwrap_or_else(|| cpus() * VMS_PER_CPU))
    }

    fn of(root: &Path, limits: &Limits, vms: usize) -> Self {
        let limit = limits.memory.as_ref().map_or(u64::MAX, |limit| limit.value);
        // Where the machine does not tell, there is room for one.
        Self { vms, memory_mib: meminfo(root, "MemTotal:").unwrap_or_default().min(limit) >> 20 }
    }
}

/// What the machine has left at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// What it can give without swapping, in MiB.
    pub(crate) memory_mib: u64,
    /// How many VMs it has processes and threads for.
    pub(crate) vms: u64,
}

impl Left {
    /// Now.
    pub(crate) fn now() -> Self {
        Self::of(Path::new("/"), &Limits::of_process())
    }

    fn of(root: &Path, limits: &Limits) -> Self {
        let available = meminfo(root, "MemAvailable:").unwrap_or_default();
        Self {
            memory_mib: limits.memory_left.unwrap_or(u64::MAX).min(available) >> 20,
            vms: limits.tasks_left.unwrap_or(u64::MAX) / VM_TASKS,
        }
    }
}

/// Whether a VM with this memory fits under the limits at all, whatever else there is.
///
/// # Errors
/// It does not: the kernel would kill it sooner or later.
pub(crate) fn check_room(memory: Memory) -> Result<()> {
    check_machine(Path::new("/"), memory)?;
    check_limits(&Limits::of_process(), memory)
}

/// A guest that asks for more than there is boots, and dies of it later. What nobody asked for is tried all the same.
fn check_machine(root: &Path, memory: Memory) -> Result<()> {
    let [total, swap] = ["MemTotal:", "SwapTotal:"].map(|key| meminfo(root, key).unwrap_or_default() >> 20);
    if total == 0 || memory <= VmDefaults::MEMORY || u64::from(memory.mib()) <= total + swap {
        return Ok(());
    }
    let message = format!("`memory = \"{memory}\"` is more than this machine has: {} MiB", total + swap);
    let hint = "`memory` in [vm] of lvh.toml or of the test, or --memory, asks for less";
    Err(Error::new(ErrorKind::Missing, message).with_hint(hint))
}

/// As [`check_room`], under these limits.
pub(crate) fn check_limits(limits: &Limits, memory: Memory) -> Result<()> {
    let Some(limit) = &limits.memory else { return Ok(()) };
    let needed = need_of_vm(memory) << 20;
    if limit.value.saturating_add(limits.swap) >= needed {
        return Ok(());
    }
    let message = format!(
        "a VM with `memory = \"{memory}\"` needs {} MiB with what QEMU takes itself, and the limit is {}",
        needed >> 20,
        limit.as_memory()
    );
    Err(Error::new(ErrorKind::Missing, message).with_hint(hint(limit)))
}

fn hint(limit: &Limit) -> String {
    let fits = fitting(limit);
    match fits >= LEAST_MIB {
        true => format!(
            "set `memory = \"{fits}M\"` in [vm] of lvh.toml, or `memory` of the test or --memory, or raise the limit"
        ),
        false => format!("raise the limit to {} MiB or more", LEAST_MIB + VM_OVERHEAD_MIB),
    }
}

/// The most that fits, in MiB, in steps that people would choose.
fn fitting(limit: &Limit) -> u64 {
    (limit.value >> 20).saturating_sub(VM_OVERHEAD_MIB) / 64 * 64
}

#[cfg(test)]
mod tests {
    use super::super::limits::tests::machine;
    use super::*;

    fn limits(mib: u64, swap_mib: u64) -> Limits {
        let limit = Limit { value: mib << 20, file: "/f/memory.max".into() };
        Limits { memory: Some(limit), memory_left: Some(mib << 20), swap: swap_mib << 20, ..Limits::default() }
    }

    #[test]
    fn the_scarcest_counts() {
        let files = "MemTotal: 8388608 kB\nMemAvailable:  4194304 kB\n";
        let root = machine(&[("proc/meminfo", files)]);
        let check = |limits: Limits, memory_mib, left_mib, left_vms| {
            let left = Left { memory_mib: left_mib, vms: left_vms };
            assert_eq!(Room::of(root.path(), &limits, 5), Room { vms: 5, memory_mib }, "{limits:?}");
            assert_eq!(Left::of(root.path(), &limits), left, "{limits:?}");
        };
        let endless = u64::MAX / VM_TASKS;
        check(Limits::default(), 8192, 4096, endless);
        check(limits(2500, 0), 2500, 2500, endless);
        check(limits(99999, 0), 8192, 4096, endless);
        check(Limits { tasks_left: Some(2 * VM_TASKS), ..Limits::default() }, 8192, 4096, 2);
        check(Limits { tasks_left: Some(0), ..Limits::default() }, 8192, 4096, 0);
        let silent = machine(&[]);
        assert_eq!(Room::of(silent.path(), &Limits::default(), 5).memory_mib, 0);
    }

    #[test]
    fn a_small_container_gives_less_by_default() {
        let check = |limits: Limits, expected: u32| assert_eq!(default_memory(&limits).mib(), expected, "{limits:?}");
        check(Limits::default(), 1024);
        check(limits(1174, 0), 1024);
        check(limits(1173, 0), 960);
        check(limits(1000, 174), 1024);
        check(limits(1000, 0), 832);
        check(limits(662, 0), 512);
        // Too small for a useful one: refused as ever.
        check(limits(661, 0), 1024);
        check(limits(100, 0), 1024);
    }

    #[test]
    fn a_vm_larger_than_the_machine_is_refused() {
        let root = machine(&[("proc/meminfo", "MemTotal:       2097152 kB\nSwapTotal:       524288 kB\n")]);
        let check =
            |root: &Path, mib: u32| check_machine(root, Memory::from_mib(mib)).map_err(|error| error.to_string());
        assert_eq!(check(root.path(), 2560), Ok(()));
        let why = "`memory = \"2561M\"` is more than this machine has: 2560 MiB";
        assert_eq!(check(root.path(), 2561), Err(why.to_owned()));
        let small = machine(&[("proc/meminfo", "MemTotal:        524288 kB\n")]);
        assert_eq!(check(small.path(), VmDefaults::MEMORY.mib()), Ok(()), "nobody asked for it");
        assert_eq!(check(machine(&[]).path(), 1 << 20), Ok(()));
    }

    #[test]
    fn a_vm_that_cannot_fit_is_refused() {
        let check = |limits: Limits, mib: u32, expected: Option<&str>| {
            let error = check_limits(&limits, Memory::from_mib(mib)).err().map(|error| error.report());
            assert_eq!(error.as_deref(), expected);
        };
        check(Limits::default(), 1024, None);
        check(limits(1174, 0), 1024, None);
        check(limits(1000, 174), 1024, None);
        check(
            limits(1000, 0),
            1024,
            Some(
                "a VM with `memory = \"1G\"` needs 1174 MiB with what QEMU takes itself, and the limit is 1000 MiB \
                 (`/f/memory.max`)\n\nhint: set `memory = \"832M\"` in [vm] of lvh.toml, or `memory` of the test or \
                 --memory, or raise the limit",
            ),
        );
        check(
            limits(200, 0),
            128,
            Some(
                "a VM with `memory = \"128M\"` needs 278 MiB with what QEMU takes itself, and the limit is 200 MiB \
                 (`/f/memory.max`)\n\nhint: raise the limit to 278 MiB or more",
            ),
        );
    }
}
