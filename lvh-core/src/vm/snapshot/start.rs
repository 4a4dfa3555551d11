//! Warm starts: a VM is booted once up to where lvh-init waits for the host, and a snapshot is taken; later VMs resume from
//! that.
//!
//! A snapshot is guest memory, a file that VMs map copy-on-write, and the state of CPUs and devices, a few hundred
//! kilobytes. Which VMs can have one follows from their devices ([`Device::is_snapshot_safe`]). Clock and random numbers are
//! set right on resuming (`guest::protocol::Setup`).

use std::fs;
use std::io;
use std::path::Path;

use crate::error::{Error, ErrorKind};
use crate::event::Events;
use crate::kernel::{KernelRelease, stamp};
use crate::process;
use crate::store::{Entry, Key, Store};
use crate::vm::attempt::Attempt;
use crate::vm::failure::Failure;
use crate::vm::qemu::command_line::{self, GuestMemory, Hypervisor};
use crate::vm::qemu::device::Device;
use crate::vm::qemu::migration::Files;
use crate::vm::running::Vm;

/// The kind of the store's entries.
const KIND: &str = "vm";
/// Part of each entry's key: to be raised when what an entry holds, or how it is resumed, changes.
const LAYOUT: &str = "2";
/// How many there are: each takes about a hundred megabytes.
const LIMIT: usize = 16;

/// The file of the guest's kernel release.
const RELEASE: &str = "release";
/// In its place, why QEMU takes no snapshot of such a VM.
const REFUSAL: &str = "refusal";

/// A snapshot that the store has.
#[derive(Debug)]
struct Snapshot {
    /// Keeps it from being pruned.
    _entry: Entry,
    files: Files,
    /// `uname -r` of its guest.
    release: KernelRelease,
}

impl Snapshot {
    /// None where QEMU could not take it.
    fn load(entry: Entry) -> Option<Self> {
        let release = fs::read_to_string(entry.path().join(RELEASE)).ok()?;
        Some(Self { files: Files::within(entry.path()), release: KernelRelease::new(release), _entry: entry })
    }
}

/// Resumes the VM that `attempt` would boot, if it has a snapshot or can have one now; none where it has to be booted.
pub(crate) async fn resume(attempt: &Attempt<'_>, store: &Store, events: &Events) -> Result<Option<Vm>, Failure> {
    if !attempt.devices().iter().all(Device::is_snapshot_safe) {
        return Ok(None);
    }
    let Some(key) = key(attempt) else { return Ok(None) };
    let snapshot = match find_or_take(attempt, store, &key).await {
        Err(failure) if is_of_the_store(&failure) => {
            let why = failure.into_error(&attempt.spec.kernel);
            events.note(format!("no snapshot can be made for the next start: {why}"));
            None
        }
        found => found?,
    };
    let Some(snapshot) = snapshot else { return Ok(None) };
    match attempt.resume(&snapshot.files, &snapshot.release).await {
        Ok(vm) => Ok(Some(vm)),
        Err(failure) => {
            let why = failure.into_error(&attempt.spec.kernel);
            events.note(format!("the snapshot does not resume, a new VM is booted: {}", why.report()));
            drop(snapshot);
            store.discard(KIND, &key)?;
            Ok(None)
        }
    }
}

/// Whether only the store is to blame, without which a VM boots all the same.
fn is_of_the_store(failure: &Failure) -> bool {
    match failure {
        Failure::Host(error) => error.kind() != ErrorKind::Missing,
        Failure::Boot { cause, .. } => cause.is_full_disk(),
        Failure::Accelerator(_) => false,
    }
}

async fn find_or_take(attempt: &Attempt<'_>, store: &Store, key: &Key) -> Result<Option<Snapshot>, Failure> {
    if let Some(entry) = store.peek(KIND, key)? {
        return Ok(Snapshot::load(entry));
    }
    let Some(unfinished) = store.begin(KIND, key)? else { return Ok(None) };
    let (dir, files) = (unfinished.dir(), Files::within(&unfinished.dir()));
    match attempt.take_snapshot(&files).await? {
        Ok(release) => write(&dir, RELEASE, release.as_str())?,
        Err(refusal) if refusal.kind() == io::ErrorKind::Unsupported => {
            fs::remove_file(&files.memory)?;
            write(&dir, REFUSAL, &refusal.to_string())?;
        }
        // It may do next time.
        Err(_) => return Ok(None),
    }
    unfinished.publish()?;
    store.prune(KIND, LIMIT)?;
    Ok(store.peek(KIND, key)?.and_then(Snapshot::load))
}

fn write(dir: &Path, name: &str, text: &str) -> crate::Result<()> {
    let file = dir.join(name);
    fs::write(&file, text).map_err(|error| Error::path("write", &file, error))
}

/// What VMs have in common that can resume from one snapshot: QEMU itself, all that it is told but what is only connected
/// later, and the initramfs. None where there is no QEMU.
fn key(attempt: &Attempt<'_>) -> Option<Key> {
    let spec = attempt.spec;
    let program = process::find(spec.kernel.arch.qemu())?.canonicalize().ok()?;
    let processor = match attempt.hypervisor {
        Hypervisor::Kvm => processor(),
        Hypervisor::Tcg { .. } => String::new(),
    };
    let devices = attempt.devices();
    let seen: Vec<String> = devices.iter().filter_map(Device::seen_by_guest).collect();
    let unconnected = devices.iter().map(Device::unconnected).collect();
    let machine = command_line::arguments(&attempt.invocation(0, unconnected, GuestMemory::Own));
    let parts = ["vm", LAYOUT, &stamp(&program), &spec.kernel.key, &processor].map(str::to_owned);
    let initramfs = attempt.initramfs.digest().to_string();
    Some(Key::of(parts.into_iter().chain([initramfs]).chain(seen).chain(machine)))
}

/// What a guest under KVM sees of this machine's processor.
fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let tells = |line: &&str| ["model name", "flags", "microcode"].iter().any(|field| line.starts_with(field));
    info.split("\n\n").next().unwrap_or_default().lines().filter(tells).collect::<Vec<_>>().join("\n")
}
