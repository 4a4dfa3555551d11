//! What tests may do and others not notice: all of these share one VM.

use std::fs::{self, File};
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// SIOCBRADDBR and SIOCBRDELBR of include/uapi/linux/sockios.h.
pub(crate) const ADD: u64 = 0x89a0;
pub(crate) const DELETE: u64 = 0x89a1;

#[track_caller]
fn check(result: libc::c_long) -> RawFd {
    assert!(result >= 0, "{}", io::Error::last_os_error());
    result as RawFd
}

/// Makes or removes a network interface.
pub(crate) fn bridge(request: u64) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // SAFETY: a text that outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), request as _, c"kept0".as_ptr()) }.into());
}

/// A program that lets every packet pass, linked to the root cgroup.
pub(crate) fn link_program() -> OwnedFd {
    const BPF_PROG_LOAD: i32 = 5;
    const BPF_LINK_CREATE: i32 = 28;
    const CGROUP_SKB: u64 = 8;
    // r0 = 1; exit
    let code: [u64; 2] = [0x0000_0001_0000_00b7, 0x95];
    let licence = c"GPL";
    let mut load = [0_u64; 15];
    // Type and number of instructions, where they are, where the licence is, and the name behind log and flags.
    (load[0], load[1], load[2]) = (CGROUP_SKB | 2 << 32, code.as_ptr() as u64, licence.as_ptr() as u64);
    load[6] = u64::from_ne_bytes(*b"lets_all");
    let program = bpf(BPF_PROG_LOAD, &load);
    let cgroup = File::open("/sys/fs/cgroup").unwrap();
    // The program, the target; ingress, no flags.
    let link = [program.as_raw_fd() as u64 | (cgroup.as_raw_fd() as u64) << 32, 0];
    bpf(BPF_LINK_CREATE, &link)
}

fn bpf(command: i32, attributes: &[u64]) -> OwnedFd {
    // SAFETY: pointer and size of the attributes; what they point to outlives the call.
    let fd = check(unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(attributes)) });
    // SAFETY: the kernel just gave us this descriptor.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Keeps a BPF object beyond its last descriptor.
pub(crate) fn pin(object: &OwnedFd, path: &str) {
    const BPF_OBJ_PIN: i32 = 6;
    let path = std::ffi::CString::new(path).unwrap();
    let attributes = [path.as_ptr() as u64, object.as_raw_fd() as u64];
    // SAFETY: pointer and size of the attributes; the path outlives the call.
    check(unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_PIN, attributes.as_ptr(), size_of_val(&attributes)) });
}

/// The first test leaves this, the others find it: they are in one VM.
const MARK: &str = "/tmp/shared";

#[lvh::test]
fn a_leaves_files() {
    fs::write(MARK, "").unwrap();
    fs::write("/tmp/some", vec![1; 10 << 20]).unwrap();
    fs::write("/dev/shm/some", "x").unwrap();
}

#[lvh::test]
fn b_mounts_bpffs_again() {
    check_shared();
    let kind = c"bpf".as_ptr();
    // SAFETY: texts that outlive the call.
    check(unsafe { libc::mount(kind, c"/sys/fs/bpf".as_ptr(), kind, 0, std::ptr::null()) }.into());
}

#[lvh::test]
fn c_looks_into_debugfs() {
    check_shared();
    // Which mounts tracefs there.
    fs::read_dir("/sys/kernel/debug/tracing/events").unwrap();
}

#[lvh::test]
fn d_tidies_up() {
    check_shared();
    let name = "/proc/sys/vm/overcommit_memory";
    let was = fs::read_to_string(name).unwrap();
    fs::write(name, "1").unwrap();
    fs::write(name, was).unwrap();
    bridge(ADD);
    bridge(DELETE);
    fs::create_dir("/sys/fs/cgroup/short").unwrap();
    fs::remove_dir("/sys/fs/cgroup/short").unwrap();
    fs::write("/sys/kernel/tracing/kprobe_events", "p:short do_sys_openat2\n").unwrap();
    fs::write("/sys/kernel/tracing/kprobe_events", "").unwrap();
}

/// What the kernel itself tidies up when the process ends, or soon after.
#[lvh::test]
fn e_leaves_it_to_the_kernel() {
    check_shared();
    std::mem::forget(link_program());
    std::mem::forget(Command::new("sleep").arg("1000").spawn().unwrap());
    let mut command = Command::new("sleep");
    // SAFETY: system calls between fork and exec.
    unsafe {
        command.arg("1000").pre_exec(|| {
            let result = libc::setsid().min(libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS | libc::CLONE_NEWUTS));
            if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
        });
    }
    std::mem::forget(command.spawn().unwrap());
}

#[lvh::test]
fn f_sends_signals_to_process_1() {
    check_shared();
    for signal in (1..=31).chain(34..=64) {
        // SAFETY: plain numbers.
        check(unsafe { libc::kill(1, signal) }.into());
    }
}

#[lvh::test]
fn g_leaves_a_cgroup_below_its_own() {
    check_shared();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = Path::new("/sys/fs/cgroup").join(&own.trim_end().rsplit(':').next().unwrap()[1..]);
    fs::create_dir(own.join("inner")).unwrap();
}

#[lvh::test]
fn h_finds_the_first_ones_file() {
    check_shared();
}

#[track_caller]
fn check_shared() {
    assert!(Path::new(MARK).exists(), "this is another VM");
}
