//! Tests that nothing ends but the end of their VM. Every second one shows that there is a new VM.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread;

use crate::broken_module::{Fault, load};

/// Waits, where no signal reaches it, for an answer that nobody but itself could give.
#[lvh::test(cpus = 1, memory = "256M", timeout = "2s")]
fn a_waits_for_itself() {
    println!("to sleep");
    // One report of a task that waited for a second, and what lvh asks for later is the other one.
    fs::write("/proc/sys/kernel/hung_task_timeout_secs", "1").unwrap();
    fs::write("/proc/sys/kernel/hung_task_warnings", "1").unwrap();
    let root = Path::new("/tmp/hangs");
    fs::create_dir(root).unwrap();
    let device = mount_fuse(root).unwrap();
    let waiting = thread::spawn(move || fs::read_dir(root).map(drop));
    give_no_answer(device).unwrap();
    waiting.join().unwrap().unwrap();
}

#[lvh::test(cpus = 1, memory = "256M")]
fn b_passes() {}

/// The only CPU never leaves the kernel again.
#[lvh::test(cpus = 1, memory = "256M", timeout = "2s")]
fn c_keeps_the_only_cpu() {
    println!("round and round");
    // A lockup is what takes twice as long as this, in seconds.
    fs::write("/proc/sys/kernel/watchdog_thresh", "1").unwrap();
    load("drivers/net/tun", Fault::SpinsForEver).unwrap();
}

#[lvh::test(cpus = 1, memory = "256M")]
fn d_passes() {}

/// Its driver stops QEMU when it reads the line.
#[lvh::test(cpus = 1, memory = "256M", timeout = "5s")]
fn e_is_stopped_with_its_machine() {
    println!("\nstop me");
    loop {
        thread::park();
    }
}

#[lvh::test(cpus = 1, memory = "256M")]
fn f_passes() {}

/// Mounts a file system that whoever has the file serves: Documentation/filesystems/fuse.rst.
fn mount_fuse(root: &Path) -> io::Result<File> {
    let device = File::options().read(true).write(true).open("/dev/fuse")?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0\0", device.as_raw_fd());
    let target = format!("{}\0", root.display());
    let kind = c"fuse".as_ptr();
    // SAFETY: strings that live through the call.
    match unsafe { libc::mount(kind, target.as_ptr().cast(), kind, 0, options.as_ptr().cast()) } {
        0 => Ok(device),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Answers `FUSE_INIT` and takes the next request, so that whoever made it must wait for its answer. The process keeps
/// the device, whatever kills it, for as long as one of its threads waits.
fn give_no_answer(mut device: File) -> io::Result<()> {
    let mut request = vec![0; 64 << 10];
    device.read(&mut request)?;
    // struct fuse_out_header: length, error, the request's number; struct fuse_init_out: version 7.31, then zeros.
    let unique = &request[8..16];
    let header = [&80_u32.to_ne_bytes()[..], &0_i32.to_ne_bytes(), unique].concat();
    let version = [7_u32.to_ne_bytes(), 31_u32.to_ne_bytes()].concat();
    device.write_all(&[header, version, vec![0; 56]].concat())?;
    device.read(&mut request)?;
    loop {
        thread::park();
    }
}
