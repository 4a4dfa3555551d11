//! Whether KVM has the processor execute its guests, found out by letting one count.
//!
//! Some KVMs of machines that are guests themselves emulate every instruction of a kernel that was not made for them. Such
//! a guest does not die, it takes an hour to boot. The calls are those of `Documentation/virt/kvm/api.rst`.

use std::ffi::c_ulong;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use rustix::time::{ClockId, clock_gettime};

/// A processor counts this far in less than a tenth of a millisecond, QEMU's translator in one.
const COUNT: u32 = 20_000;

/// What an emulator of single instructions takes at least five times as long for, in CPU time.
const LIMIT: Duration = Duration::from_millis(5);

/// What may disturb the clock does not do so every time.
const TRIES: usize = 3;

const PAGE: usize = 4096;

/// Where an x86 CPU starts is in the last page below 4 GiB, 16 bytes from its end (Intel SDM volume 3, "First Instruction
/// Executed").
const LAST_PAGE: u64 = (1 << 32) - PAGE as u64;
const RESET_VECTOR: usize = PAGE - 16;

const KVM_CREATE_VM: c_ulong = 0xae01;
const KVM_CREATE_VCPU: c_ulong = 0xae41;
const KVM_SET_USER_MEMORY_REGION: c_ulong = 0x4020_ae46;
const KVM_RUN: c_ulong = 0xae80;

/// `struct kvm_userspace_memory_region`
#[repr(C)]
struct MemoryRegion {
    slot: u32,
    flags: u32,
    guest_address: u64,
    size: u64,
    address: u64,
}

/// Has the KVM behind `device`, which is open, run a guest. The guest's code is x86's: on other machines all is well.
///
/// # Errors
/// Why it is of no use: it runs none, or emulates it.
pub(crate) fn trial(device: &File) -> Result<(), Fault> {
    if !cfg!(target_arch = "x86_64") {
        return Ok(());
    }
    match (0..TRIES).map(|_| count(device)).find(|took| !matches!(took, Ok(took) if *took > LIMIT)) {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(Fault::Fails(error)),
        None => Err(Fault::Emulates),
    }
}

/// Why a KVM is of no use.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It runs no guest.
    Fails(io::Error),
    /// It emulates each instruction.
    Emulates,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fails(error) => write!(f, "KVM does not work on this machine ({error})"),
            Self::Emulates => {
                f.write_str("KVM does not work on this machine (it emulates its guests, slower than QEMU)")
            }
        }
    }
}

/// The CPU time that a guest takes to count.
fn count(device: &File) -> io::Result<Duration> {
    let memory = Page::new()?;
    memory.write(RESET_VECTOR, &code());
    let vm = owned(ioctl(device.as_raw_fd(), KVM_CREATE_VM, 0)?);
    let region =
        MemoryRegion { slot: 0, flags: 0, guest_address: LAST_PAGE, size: PAGE as u64, address: memory.0 as u64 };
    ioctl(vm.as_raw_fd(), KVM_SET_USER_MEMORY_REGION, &raw const region as c_ulong)?;
    let cpu = owned(ioctl(vm.as_raw_fd(), KVM_CREATE_VCPU, 0)?);
    let before = cpu_time();
    ioctl(cpu.as_raw_fd(), KVM_RUN, 0)?;
    Ok(cpu_time() - before)
}

/// `mov ecx, COUNT; again: dec ecx; jnz again; hlt`, in the 16-bit mode that a CPU starts in.
fn code() -> Vec<u8> {
    let [a, b, c, d] = COUNT.to_le_bytes();
    vec![0x66, 0xb9, a, b, c, d, 0x66, 0x49, 0x75, 0xfc, 0xf4]
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

fn ioctl(fd: RawFd, request: c_ulong, argument: c_ulong) -> io::Result<RawFd> {
    // SAFETY: the calls above take a number, or the address of a region that lives as long as the call.
    let result = unsafe { libc::ioctl(fd, request as _, argument) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: KVM has just made it, for us alone.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A page that a guest gets as its memory.
struct Page(*mut u8);

impl Page {
    fn new() -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, wherever the kernel has room.
        let page = unsafe { mmap_anonymous(std::ptr::null_mut(), PAGE, access, MapFlags::PRIVATE)? };
        Ok(Self(page.cast()))
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= PAGE);
        // SAFETY: it fits, and nobody else knows the page yet.
        unsafe { self.0.add(at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this size; the VM that had it is gone by then, or keeps its own reference.
        let _ = unsafe { munmap(self.0.cast(), PAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is none cannot be asked; what is one answers as it likes, in no time to speak of.
    #[test]
    fn a_trial_takes_no_time() {
        let none = trial(&File::open("/dev/null").unwrap()).unwrap_err().to_string();
        assert_eq!(none, "KVM does not work on this machine (Inappropriate ioctl for device (os error 25))");
        let Ok(kvm) = File::options().read(true).write(true).open("/dev/kvm") else { return };
        let (began, result) = (std::time::Instant::now(), trial(&kvm));
        assert!(began.elapsed() < Duration::from_secs(20), "{result:?} after {:?}", began.elapsed());
    }
}
