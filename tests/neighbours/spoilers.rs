//! Ways to spoil a VM. Every second test shows that there is a new one.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// A spoiler, how it ends, and its neighbour.
macro_rules! spoiler {
    ($name:ident $(($($option:tt)*))? $(#[$attribute:meta])* $body:block) => {
        mod $name {
            use super::*;

            #[lvh::test($($($option)*)?)]
            $(#[$attribute])*
            fn a_spoils() {
                fs::write(MARK, "").unwrap();
                $body
            }

            #[lvh::test]
            fn b_has_a_new_vm() {
                assert!(!Path::new(MARK).exists());
                check_fresh();
            }
        }
    };
}

/// What a file in `/tmp` alone does not do: end the VM.
const MARK: &str = "/tmp/mark";

#[track_caller]
fn check_fresh() {
    assert_eq!(setting("vm/overcommit_memory"), "0");
    assert_ne!(setting("kernel/printk").split_whitespace().next(), Some("0"));
    assert!(fs::read_dir("/sys/class/net").unwrap().count() == 1);
    assert_eq!(fs::read_to_string("/sys/kernel/tracing/kprobe_events").unwrap(), "");
}

fn setting(name: &str) -> String {
    fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap().trim_end().to_owned()
}

fn set(name: &str, value: &str) {
    fs::write(Path::new("/proc/sys").join(name), value).unwrap();
}

fn check(result: i32) {
    assert!(result >= 0, "{}", io::Error::last_os_error());
}

spoiler!(settings {
    set("vm/overcommit_memory", "2");
    set("kernel/printk", "0 4 1 7");
    panic!("a failure of its own");
});

spoiler!(hostname #[should_panic(expected = "gone")] {
    // SAFETY: pointer and length of one text.
    check(unsafe { libc::sethostname(c"other".as_ptr(), 5) });
    panic!("gone");
});

spoiler!(space {
    let file = File::create("/tmp/filled").unwrap();
    // SAFETY: an open file and plain numbers. The guest has 1 GiB, /tmp half of that.
    assert_eq!(unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, 300 << 20) }, 0);
});

spoiler!(proc {
    // SAFETY: a text that outlives the call.
    check(unsafe { libc::umount2(c"/proc".as_ptr(), libc::MNT_DETACH) });
});

spoiler!(mount {
    fs::create_dir("/tmp/here").unwrap();
    let kind = c"tmpfs".as_ptr();
    // SAFETY: texts that outlive the call.
    check(unsafe { libc::mount(kind, c"/tmp/here".as_ptr(), kind, 0, std::ptr::null()) });
});

spoiler!(null {
    fs::remove_file("/dev/null").unwrap();
});

spoiler!(escaped {
    escaped();
});

spoiler!(killed {
    escaped();
    // SAFETY: plain numbers.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
});

spoiler!(timed_out (timeout = "10s") {
    set("vm/overcommit_memory", "2");
    loop {
        thread::park();
    }
});

/// A process out of reach: in a session and a cgroup that are not the test's.
fn escaped() {
    let mut command = Command::new("sleep");
    command.arg("1000");
    // SAFETY: one system call between fork and exec.
    unsafe { command.pre_exec(|| if libc::setsid() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }) };
    let child = command.spawn().unwrap();
    fs::write("/sys/fs/cgroup/cgroup.procs", child.id().to_string()).unwrap();
    std::mem::forget(child);
}

spoiler!(cgroups {
    fs::create_dir("/sys/fs/cgroup/left").unwrap();
    fs::write("/sys/fs/cgroup/left/cgroup.procs", "1").unwrap();
});

spoiler!(kprobe {
    fs::write("/sys/kernel/tracing/kprobe_events", "p:kept do_sys_openat2\n").unwrap();
});

spoiler!(bpf {
    let link = crate::harmless::link_program();
    crate::harmless::pin(&link, "/sys/fs/bpf/kept");
});

spoiler!(interface {
    crate::harmless::bridge(crate::harmless::ADD);
});

spoiler!(loopback {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // SAFETY: all zeros is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    // SAFETY: the request is what SIOCSIFFLAGS reads: no flags.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw mut request) });
});

spoiler!(limits {
    let limit = libc::rlimit { rlim_cur: 10, rlim_max: 10 };
    // SAFETY: `limit` outlives the call.
    check(unsafe { libc::prlimit(1, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()) });
});

spoiler!(clock {
    let later = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap() + Duration::from_secs(3600);
    let time = libc::timespec { tv_sec: later.as_secs() as libc::time_t, tv_nsec: 0 };
    // SAFETY: `time` outlives the call.
    check(unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &raw const time) });
});

spoiler!(names {
    let name = format!("/tmp/{}", "\u{1b}[31m".repeat(30));
    fs::create_dir(&name).unwrap();
    let target = CString::new(name).unwrap();
    let kind = c"tmpfs".as_ptr();
    // SAFETY: texts that outlive the call.
    check(unsafe { libc::mount(kind, target.as_ptr(), kind, 0, std::ptr::null()) });
});
