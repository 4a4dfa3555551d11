//! The state of a VM's CPUs and devices, out of QEMU and back: a migration to a file.

use std::fs::File;
use std::io::{self, PipeReader};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::json::Value;
use crate::machine::start_thread;
use crate::vm::qemu::qmp::Monitor;

/// Where the parts of a snapshot are.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// Guest memory.
    pub(crate) memory: PathBuf,
    /// The state of CPUs and devices.
    pub(crate) state: PathBuf,
    dir: PathBuf,
}

impl Files {
    /// Those in the directory `dir`.
    pub(crate) fn within(dir: &Path) -> Self {
        Self { memory: dir.join("memory"), state: dir.join("state"), dir: dir.to_owned() }
    }

    /// Removes what was made before QEMU refused.
    pub(crate) fn remove(&self) -> io::Result<()> {
        std::fs::read_dir(&self.dir)?.try_for_each(|file| std::fs::remove_file(file?.path()))
    }

    /// What the guest wrote to the disk of that name.
    pub(crate) fn disk(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.qcow2"))
    }
}

/// How long QEMU may take to write, or to read, a few hundred kilobytes.
const DEADLINE: Duration = Duration::from_secs(30);

/// In which QEMU's shell finds the file for a VM's state.
pub(crate) const VARIABLE: &str = "LVH_VM_STATE";

/// Has QEMU leave guest memory where it is, in a file that VMs share.
async fn share_memory(monitor: &Monitor) -> io::Result<()> {
    let switch = |name| Value::object([("capability", Value::text(name)), ("state", Value::Bool(true))]);
    let switches = Value::Array(vec![switch("events"), switch("x-ignore-shared")]);
    let capabilities = Value::object([("capabilities", switches)]);
    monitor.execute("migrate-set-capabilities", capabilities).await.map(drop)
}

/// Stops a VM and writes its state to the file `state`, which [`VARIABLE`] names too.
///
/// # Errors
/// QEMU cannot, or takes too long.
pub(crate) async fn save(monitor: &Monitor, state: &Path) -> io::Result<()> {
    in_time(stop_and_write(monitor, state)).await
}

async fn stop_and_write(monitor: &Monitor, state: &Path) -> io::Result<()> {
    monitor.execute("stop", Value::object([])).await?;
    share_memory(monitor).await?;
    let uri = format!("exec:cat >\"${VARIABLE}.part\" && mv \"${VARIABLE}.part\" \"${VARIABLE}\"");
    monitor.execute("migrate", Value::object([("uri", Value::text(uri))])).await?;
    monitor.migrated().await?;
    // QEMU has written all, but who reads it may not: it is killed together with QEMU.
    while !state.exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Has a VM read its state from a descriptor that QEMU inherited, and go on.
///
/// # Errors
/// QEMU cannot, or takes too long.
pub(crate) async fn load(monitor: &Monitor, state: RawFd) -> io::Result<()> {
    in_time(read_and_go(monitor, state)).await
}

async fn read_and_go(monitor: &Monitor, state: RawFd) -> io::Result<()> {
    share_memory(monitor).await?;
    monitor.execute("migrate-incoming", Value::object([("uri", Value::text(format!("fd:{state}")))])).await?;
    monitor.migrated().await?;
    monitor.execute("cont", Value::object([])).await.map(drop)
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_elapsed| io::Error::other(format!("timed out after {DEADLINE:?} waiting for QEMU"));
    tokio::time::timeout(DEADLINE, work).await.map_err(late)?
}

/// A pipe that gives what is in `file`: QEMU reads states from pipes and sockets, and not every version from files.
pub(crate) fn feed(mut file: File) -> Result<PipeReader> {
    let (reader, mut writer) = io::pipe().map_err(|error| Error::io("make a pipe", error))?;
    // Ends when all is read or QEMU is gone.
    start_thread("lvh-state", move || io::copy(&mut file, &mut writer))?;
    Ok(reader)
}
