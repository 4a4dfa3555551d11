//! Warm starts: a VM is booted once up to where lvh-init waits for the host, stopped and kept; later VMs go on from there.
//!
//! What is kept is guest memory, a file that VMs map copy-on-write, and the state of CPUs and devices, a few hundred
//! kilobytes. QEMU can keep devices of its own that nobody uses yet, so these VMs talk over virtio-serial and see files
//! over 9p, mounted when they go on. Clock and random numbers are set right then (`guest::protocol::Setup`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::{Channel, Share};
use crate::error::{Error, ErrorKind};
use crate::event::Events;
use crate::kernel::KernelRelease;
use crate::process;
use crate::store::{Entry, Key, Store};
use crate::vm::boot::Attempt;
use crate::vm::failure::Failure;
use crate::vm::qemu::command_line::{self, Hypervisor};
use crate::vm::running::Vm;

/// The kind of the store's entries.
const KIND: &str = "vm";
/// Part of each entry's key: to be raised when what an entry holds, or how it is resumed, changes.
const LAYOUT: &str = "1";
/// How many are kept: each takes about a hundred megabytes.
const LIMIT: usize = 16;

/// The file of guest memory.
const MEMORY: &str = "memory";
/// The file of all other state.
const STATE: &str = "state";
/// The file of the guest's kernel release.
const RELEASE: &str = "release";
/// In its place, why QEMU cannot keep such a VM.
const REFUSAL: &str = "refusal";

/// Where the parts of a VM that is being kept go.
pub(crate) fn memory_in(dir: &Path) -> PathBuf {
    dir.join(MEMORY)
}

/// As [`memory_in`].
pub(crate) fn state_in(dir: &Path) -> PathBuf {
    dir.join(STATE)
}

/// A VM that was kept.
#[derive(Debug)]
pub(crate) struct Kept {
    entry: Entry,
    /// `uname -r` of its guest.
    pub(crate) release: KernelRelease,
}

impl Kept {
    /// Guest memory.
    pub(crate) fn memory(&self) -> PathBuf {
        memory_in(self.entry.path())
    }

    /// Everything else.
    pub(crate) fn state(&self) -> PathBuf {
        state_in(self.entry.path())
    }

    /// None where QEMU could not keep it.
    fn load(entry: Entry) -> Option<Self> {
        let release = fs::read_to_string(entry.path().join(RELEASE)).ok()?;
        Some(Self { entry, release: KernelRelease::new(release) })
    }
}

/// Whether a VM on these rungs can be kept.
pub(crate) fn is_possible(channel: Channel, share: Share) -> bool {
    cfg!(target_os = "linux") && channel == Channel::VirtioSerial && share == Share::NineP
}

/// Goes on with the VM that `attempt` would boot, if one is kept or can be now; none where it has to be booted.
pub(crate) async fn resume(
    attempt: &Attempt<'_>,
    store: &Store,
    events: &Events,
) -> std::result::Result<Option<Vm>, Failure> {
    let Some(key) = key(attempt) else { return Ok(None) };
    let kept = match find_or_make(attempt, store, &key).await {
        Err(failure) if is_of_the_disk(&failure) => {
            events.note(format!("no VM can be kept for the next start: {}", failure.into_error(attempt.spec)));
            None
        }
        found => found?,
    };
    let Some(kept) = kept else { return Ok(None) };
    match attempt.resume(&kept).await {
        Ok(vm) => Ok(Some(vm)),
        Err(failure) => {
            let why = failure.into_error(attempt.spec);
            events.note(format!("the kept VM does not go on, a new one is booted: {why}"));
            drop(kept);
            store.discard(KIND, &key)?;
            Ok(None)
        }
    }
}

/// Whether only the store is to blame, without which a VM boots all the same. A full disk is QEMU's death by SIGBUS: it
/// finds out when the guest writes to its memory.
fn is_of_the_disk(failure: &Failure) -> bool {
    match failure {
        Failure::Host(error) => error.kind() != ErrorKind::Missing,
        Failure::Boot { why, .. } => why.contains("SIGBUS"),
        Failure::Accelerator(_) => false,
    }
}

async fn find_or_make(attempt: &Attempt<'_>, store: &Store, key: &Key) -> std::result::Result<Option<Kept>, Failure> {
    if let Some(entry) = store.peek(KIND, key)? {
        return Ok(Kept::load(entry));
    }
    let Some(unfinished) = store.begin(KIND, key)? else { return Ok(None) };
    let dir = unfinished.dir();
    let (file, text) = match attempt.keep(&dir).await? {
        Ok(release) => (RELEASE, release.to_string()),
        Err(refusal) if refusal.kind() == io::ErrorKind::Unsupported => {
            fs::remove_file(memory_in(&dir))?;
            (REFUSAL, refusal.to_string())
        }
        // It may do next time.
        Err(_) => return Ok(None),
    };
    fs::write(dir.join(file), text)?;
    unfinished.publish()?;
    store.prune(KIND, LIMIT)?;
    Ok(store.peek(KIND, key)?.and_then(Kept::load))
}

/// What VMs have in common that can go on from the same state: QEMU itself, everything that it is told but what is only
/// connected later, and the initramfs. None where there is no QEMU.
fn key(attempt: &Attempt<'_>) -> Option<Key> {
    let program = process::find(attempt.arch.qemu())?.canonicalize().ok()?;
    let machine = attempt.unconnected();
    let arguments = command_line::arguments(&machine);
    let processor = match attempt.hypervisor {
        Hypervisor::Kvm | Hypervisor::Hvf => processor(),
        Hypervisor::Tcg { .. } => String::new(),
    };
    let parts = ["vm", LAYOUT, &crate::kernel::stamp(&program), &attempt.spec.kernel.key, &processor];
    let initramfs = attempt.initramfs.digest();
    let parts = parts.into_iter().map(str::to_owned).chain([initramfs.to_string()]).chain(arguments);
    Some(Key::of(parts))
}

/// What a guest under KVM sees of this machine's processor.
fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let tells = |line: &&str| ["model name", "flags", "microcode"].iter().any(|field| line.starts_with(field));
    info.split("\n\n").next().unwrap_or_default().lines().filter(tells).collect::<Vec<_>>().join("\n")
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Host(error)
    }
}
