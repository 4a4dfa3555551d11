//! Warm starts: a VM is booted once up to where its guest is prepared and waits for the host, and a snapshot is taken; later VMs
//! resume from that.
//!
//! A snapshot is guest memory, a file that VMs map copy-on-write; the state of CPUs and devices, a few hundred kilobytes; and
//! what the guest wrote to its disks, a qcow2 file over each, over which QEMU lays another for each VM. Which VMs can have one follows from their devices ([`Device::is_snapshot_safe`]). Clock and random numbers are
//! set right on resuming (`guest::protocol::Setup`).

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::event::Events;
use crate::kernel::{KernelRelease, stamp};
use crate::process;
use crate::store::{Entry, Key, Store, manifest};
use crate::vm::attempt::Attempt;
use crate::vm::diagnosis::Cause;
use crate::vm::failure::Failure;
use crate::vm::qemu::accel::processor;
use crate::vm::qemu::command_line::{self, GuestMemory, Hypervisor};
use crate::vm::qemu::device::Device;
use crate::vm::qemu::migration::Files;
use crate::vm::root::rootfs::RootFs;
use crate::vm::running::Vm;

/// The kind of the store's entries.
const KIND: &str = "vm";
/// Part of each entry's key: to be raised when what an entry holds, or how it is resumed, changes.
const LAYOUT: &str = "4";
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
    /// How long it took to take it, where that was just now.
    taken: Option<Duration>,
}

/// What the store has for a key.
#[derive(Debug)]
enum Found {
    Snapshot(Snapshot),
    /// QEMU could not take one.
    Refusal,
    /// Neither, or not all of it.
    Damage,
}

impl Found {
    fn read(entry: Entry) -> Self {
        let (files, refused) = (Files::within(entry.path()), entry.path().join(REFUSAL).is_file());
        match fs::read_to_string(entry.path().join(RELEASE)) {
            _ if !manifest::exists(entry.path()) => Self::Damage,
            Ok(release) if files.memory.is_file() && files.state.is_file() && !release.is_empty() => {
                Self::Snapshot(Snapshot { files, release: KernelRelease::new(release), _entry: entry, taken: None })
            }
            Err(_) if refused => Self::Refusal,
            _ => Self::Damage,
        }
    }
}

/// Resumes the VM that `attempt` would boot, if it has a snapshot or can have one now; none where it has to be booted.
pub(crate) async fn resume(
    attempt: &Attempt<'_>,
    store: &Store,
    subject: &str,
    events: &Events,
) -> Result<Option<Vm>, Failure> {
    if !attempt.devices().iter().all(Device::is_snapshot_safe) {
        return Ok(None);
    }
    let qemu = process::find(attempt.spec.kernel.arch.qemu()).and_then(|program| program.canonicalize().ok());
    let Some(qemu) = qemu else { return Ok(None) };
    let key = key(attempt, &qemu);
    let found = find_or_take(attempt, store, &key, subject, events).await;
    store.take_notes().into_iter().for_each(|note| events.note(note));
    let snapshot = match found {
        Err(failure) if is_of_the_store(&failure) => {
            let why = failure.into_error(attempt.spec);
            events.note(format!("no snapshot can be made for the next start: {why}"));
            None
        }
        found => found?,
    };
    let Some(snapshot) = snapshot else { return Ok(None) };
    match attempt.resume(&snapshot.files, &snapshot.release).await {
        Ok(mut vm) => {
            vm.info.snapshot_after = snapshot.taken;
            Ok(Some(vm))
        }
        Err(failure) if is_of_the_machine(&failure) => Err(failure),
        Err(failure) => {
            let why = failure.into_error(attempt.spec);
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

/// Whether the machine has too little of something, which is not the snapshot's fault.
fn is_of_the_machine(failure: &Failure) -> bool {
    match failure {
        Failure::Host(_) => true,
        Failure::Boot { cause, .. } => {
            matches!(cause, Cause::OomKilled(_) | Cause::NoThreads(_) | Cause::NoHostMemory(_))
        }
        Failure::Accelerator(_) => false,
    }
}

async fn find_or_take(
    attempt: &Attempt<'_>,
    store: &Store,
    key: &Key,
    subject: &str,
    events: &Events,
) -> Result<Option<Snapshot>, Failure> {
    match store.peek(KIND, key)?.map(Found::read) {
        Some(Found::Snapshot(snapshot)) => return Ok(Some(snapshot)),
        Some(Found::Refusal) => return Ok(None),
        Some(Found::Damage) => {
            store.discard_damaged(KIND, key, "it lacks a part")?;
        }
        None => {}
    }
    let Some(unfinished) = store.begin(KIND, key)? else { return Ok(None) };
    let (dir, files, started) = (unfinished.dir(), Files::within(&unfinished.dir()), Instant::now());
    events.step(subject, format!("booting ({}), for a snapshot that later starts resume from", attempt.booted()));
    match attempt.take_snapshot(&files).await? {
        Ok(release) => write(&dir, RELEASE, release.as_str())?,
        Err(refusal) if refusal.kind() == io::ErrorKind::Unsupported => {
            files.remove()?;
            write(&dir, REFUSAL, &refusal.to_string())?;
        }
        // It may do next time.
        Err(_) => return Ok(None),
    }
    unfinished.publish()?;
    store.prune(KIND, LIMIT)?;
    Ok(match store.peek(KIND, key)?.map(Found::read) {
        Some(Found::Snapshot(snapshot)) => Some(Snapshot { taken: Some(started.elapsed()), ..snapshot }),
        _ => None,
    })
}

fn write(dir: &Path, name: &str, text: &str) -> crate::Result<()> {
    let file = dir.join(name);
    fs::write(&file, text).map_err(|error| Error::path("write", &file, error))
}

/// What VMs have in common that can resume from one snapshot: QEMU itself, all that it is told but what is only connected
/// later, the initramfs, the disks, and the first process.
fn key(attempt: &Attempt<'_>, qemu: &Path) -> Key {
    let spec = attempt.spec;
    let processor = match attempt.hypervisor {
        Hypervisor::Kvm => processor(),
        Hypervisor::Tcg { .. } => String::new(),
    };
    let devices = attempt.devices();
    let seen: Vec<String> = devices.iter().filter_map(Device::seen_by_guest).collect();
    let unconnected = devices.iter().map(Device::unconnected).collect();
    let init = attempt.spec.init.iter().map(|word| word.to_string_lossy().into_owned());
    let waits = attempt.spec.waits_for_systemd.to_string();
    let machine = command_line::arguments(&attempt.invocation(0, unconnected, GuestMemory::Own));
    let parts = ["vm", LAYOUT, &stamp(qemu), &spec.kernel.key, &processor].map(str::to_owned);
    let initramfs = attempt.initramfs.digest().to_string();
    // Before the snapshot a guest enters such a root, and has the devices of any other.
    let stays = matches!(spec.root, RootFs::Initramfs).to_string();
    Key::of(parts.into_iter().chain([initramfs, waits, stays]).chain(init).chain(seen).chain(machine))
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::config::{Channel, Memory, Share};
    use crate::image::DiskFormat;
    use crate::vm::root::initramfs::Initramfs;
    use crate::vm::spec::VmSpec;
    use crate::vm::transport::candidates::Transport;
    use crate::{Config, Kernel};

    const TCG: Hypervisor = Hypervisor::Tcg { single_thread: false };

    fn spec() -> VmSpec {
        VmSpec::new(Kernel::example(), &Config::default())
    }

    /// Whether such a VM can have a snapshot, and the key of that.
    fn look(spec: &VmSpec, hypervisor: Hypervisor, channel: Channel, share: Share) -> (bool, Key) {
        let transport = Transport { channel, share, passed_over: Vec::new() };
        let initramfs = Initramfs::of_segments(&[b"base"]);
        let attempt = Attempt {
            spec,
            hypervisor,
            cpus: 1,
            transport: &transport,
            initramfs: &initramfs,
            kit: None,
            modules: None,
            gdb: None,
        };
        (attempt.devices().iter().all(Device::is_snapshot_safe), key(&attempt, Path::new("/usr/bin/qemu")))
    }

    fn key_of(spec: &VmSpec) -> Key {
        look(spec, TCG, Channel::VirtioSerial, Share::NineP).1
    }

    #[test]
    fn devices_tell_whether_there_can_be_a_snapshot() {
        let check =
            |channel, share, expected| assert_eq!(look(&spec(), TCG, channel, share).0, expected, "{channel} {share}");
        check(Channel::VirtioSerial, Share::NineP, true);
        check(Channel::VirtioSerial, Share::Packed, true);
        check(Channel::VirtioSerial, Share::Virtiofs, false);
        check(Channel::VhostUserVsock, Share::NineP, false);
        check(Channel::VhostVsock, Share::NineP, true);
        check(Channel::VhostVsock, Share::Virtiofs, false);
        check(Channel::Serial, Share::NineP, false);
    }

    #[test]
    fn what_the_machine_is_made_of_is_in_the_key_and_what_it_is_connected_to_is_not() {
        let plain = key_of(&spec());
        assert_eq!(key_of(&spec().visible(vec!["/tmp/x".into()])), plain);
        assert_eq!(key_of(&spec().boot_timeout(std::time::Duration::from_secs(1))), plain);
        assert_eq!(key_of(&spec().writable(vec!["/a".into()]).profiles(Some("/b".into()))), plain);
        for other in [
            key_of(&spec().memory(Memory::from_mib(512))),
            key_of(&spec().root(RootFs::Initramfs)),
            key_of(&spec().kernel_args("lsm=bpf")),
            key_of(&spec().init(["/first"])),
            key_of(&spec().systemd()),
            key_of(&spec().network(true)),
            look(&spec(), Hypervisor::Kvm, Channel::VirtioSerial, Share::NineP).1,
            look(&spec(), TCG, Channel::VirtioSerial, Share::Packed).1,
        ] {
            assert_ne!(other, plain);
        }
        let mut other_kernel = spec();
        other_kernel.kernel.key = "other".into();
        assert_ne!(key_of(&other_kernel), plain);
    }

    #[test]
    fn a_disk_is_in_the_key_with_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        fs::write(&path, "one").unwrap();
        let on_disk = || key_of(&spec().root(RootFs::Disk { path: path.clone(), format: DiskFormat::Raw }));
        let before = on_disk();
        assert_eq!(on_disk(), before);
        fs::write(&path, "another").unwrap();
        assert_ne!(on_disk(), before);
    }
}
