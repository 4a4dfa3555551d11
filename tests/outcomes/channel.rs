//! Tests that take the channel between lvh-init and the host, as root may, and misuse it. Every second one shows that
//! there is a new VM.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::thread;

/// What `ToHost` of lvh-core/src/guest/protocol.rs makes of a message's first byte.
const OUTPUT: u8 = 4;
const KERNEL: u8 = 7;
const FILE: u8 = 8;

/// lvh-init's end of the channel: the vsock socket or virtio-serial port that PID 1 has. What it can do with it, a copy
/// can.
fn channel() -> File {
    // SAFETY: plain numbers.
    let init = unsafe { libc::syscall(libc::SYS_pidfd_open, 1, 0) };
    assert!(init >= 0, "{}", io::Error::last_os_error());
    let numbers = fs::read_dir("/proc/1/fd").unwrap().map(|entry| entry.unwrap().file_name());
    let mut copies = numbers.filter_map(|number| copy(init, number.to_str()?.parse().ok()?));
    copies.find(|copy| domain(copy) == Some(libc::AF_VSOCK) || is_port(copy)).expect("lvh-init has a channel").into()
}

fn copy(process: libc::c_long, number: RawFd) -> Option<OwnedFd> {
    // SAFETY: plain numbers.
    let copy = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process, number, 0) };
    // SAFETY: the kernel has just made it for us.
    (copy >= 0).then(|| unsafe { OwnedFd::from_raw_fd(copy as RawFd) })
}

fn domain(file: &OwnedFd) -> Option<i32> {
    let (mut domain, mut length) = (0_i32, size_of::<i32>() as libc::socklen_t);
    let pointer = (&raw mut domain).cast();
    // SAFETY: the pointers are to a live number and its length.
    let result =
        unsafe { libc::getsockopt(file.as_raw_fd(), libc::SOL_SOCKET, libc::SO_DOMAIN, pointer, &raw mut length) };
    (result == 0).then_some(domain)
}

fn is_port(file: &OwnedFd) -> bool {
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    path.to_string_lossy().contains("vport")
}

/// A whole message: its length, its kind, and what its fields are.
fn frame(kind: u8, fields: &[&[u8]]) -> Vec<u8> {
    let message = [&[kind][..], &fields.concat()].concat();
    [&(message.len() as u32).to_le_bytes()[..], &message].concat()
}

/// Bytes as a field.
fn bytes(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32).to_le_bytes()[..], content].concat()
}

fn park() -> ! {
    loop {
        thread::park();
    }
}

#[lvh::test(memory = "256M")]
fn a_cuts_it_in_mid_frame() {
    let mut channel = channel();
    println!("cutting");
    let frame = frame(OUTPUT, &[&1_u32.to_le_bytes(), &[1], &bytes(&[b'x'; 1000])]);
    channel.write_all(&frame[..frame.len() / 2]).unwrap();
    // SAFETY: plain numbers.
    if unsafe { libc::shutdown(channel.as_raw_fd(), libc::SHUT_RDWR) } != 0 {
        // A port ends with its machine.
        // SAFETY: reboot takes plain numbers.
        unsafe { libc::reboot(libc::RB_AUTOBOOT) };
    }
    park();
}

#[lvh::test(memory = "256M")]
fn b_passes() {}

#[lvh::test(memory = "256M")]
fn c_writes_rubbish() {
    let mut channel = channel();
    println!("rubbish");
    for _ in 0..8 {
        // Who hears such a thing hangs up.
        let _ = channel.write_all(&[0xee; 1 << 20]);
    }
    park();
}

#[lvh::test(memory = "256M")]
fn d_passes() {}

/// Messages that lvh-init might send, of every size and to everybody, until it is killed.
#[lvh::test(memory = "256M", timeout = "5s")]
fn e_sends_for_ever() {
    let mut channel = channel();
    println!("well-formed");
    let text = vec![b'x'; 15 << 10];
    let oops = b"0,1,1,-;BUG: scheduling while atomic: no/1/0x2\n".repeat(300);
    let of_commands = (1_u32..20).map(|id| frame(OUTPUT, &[&id.to_le_bytes(), &[1], &bytes(&text)]));
    let part = frame(FILE, &[&bytes(b"../../etc/passwd"), &[0; 4], &bytes(&text), &[0]]);
    let round = of_commands.chain([part, frame(KERNEL, &[&bytes(&oops)])]).collect::<Vec<_>>().concat();
    while channel.write_all(&round).is_ok() {}
    park();
}

#[lvh::test(memory = "256M")]
fn f_passes() {}

/// The beginning of a message, which swallows what lvh-init sends next: that this test has ended, say.
#[lvh::test(memory = "256M", timeout = "3s")]
fn g_announces_what_does_not_come() {
    println!("announced");
    channel().write_all(&(60_u32 << 10).to_le_bytes()).unwrap();
}

#[lvh::test(memory = "256M")]
fn h_passes() {}
