//! What lvh says and does where KVM works, is not there, may not be opened, and dies.

use std::ffi::CString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::ptr;

use lvh_tests::Finished;

use crate::exec::{data_dir, lvh, program};

/// Nobody, by the number that Debian and the kernel give them.
const NOBODY: u32 = 65534;

/// Says why there is no KVM, with TCG in its place; what QEMU says is between the two.
const DIES: (&str, &str) = ("KVM does not work on this machine (", "); using TCG, about ten times slower\n");

/// How a VM is started here without KVM: the smallest, for it takes long.
const SMALLEST: [&str; 4] = ["exec", "--kernel", "5.10", "/bin/true"];

/// What `lvh doctor` says of KVM under `accel`.
#[track_caller]
fn doctor(command: &mut Command, accel: &str, code: i32, says: &str) {
    let finished = Finished::of(command.arg("doctor").env("LVH_ACCEL", accel));
    assert_eq!(finished.code, Some(code), "{}\n{}", finished.stdout, finished.stderr);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&finished.stdout).contains(says), "no `{says}` in:\n{}", finished.stdout);
}

/// While it lives, there is no `/dev/kvm`. The tests after this one need it, however this one ends.
struct WithoutKvm;

impl WithoutKvm {
    fn new() -> Self {
        fs::rename("/dev/kvm", "/dev/kvm-away").unwrap();
        Self
    }
}

impl Drop for WithoutKvm {
    fn drop(&mut self) {
        fs::rename("/dev/kvm-away", "/dev/kvm").unwrap();
    }
}

pub(crate) fn without_kvm() {
    let _without = WithoutKvm::new();
    // How to mend it depends on whether the machine is a container, which shares its root with the guest.
    let slow = "cost: VMs run under TCG, about ten times slower fix: ";
    doctor(&mut lvh(), "auto", 0, &format!("/dev/kvm does not exist {slow}"));
    doctor(&mut lvh(), "kvm", 1, "MISSING /dev/kvm does not exist");
}

pub(crate) fn with_kvm_that_works() {
    let new = Path::new("/tmp/new");
    doctor(lvh().env("LVH_DATA_DIR", new), "auto", 0, "ok /dev/kvm opens, and runs code");
    doctor(&mut lvh(), "kvm", 0, "ok /dev/vhost-vsock opens");
}

/// After a VM was booted under KVM.
pub(crate) fn with_kvm_that_has_booted() {
    doctor(&mut lvh(), "auto", 0, "ok /dev/kvm opens, and has booted a VM");
}

/// `/dev/kvm` is root's alone, as the kernel makes it.
pub(crate) fn as_nobody() {
    let home = Path::new("/tmp/nobody");
    fs::create_dir(home).unwrap();
    let data = share_with_nobody(home);
    let nobody = || {
        let mut command = Command::new(home.join("lvh"));
        command.env("LVH_DATA_DIR", &data).env("LVH_OFFLINE", "1").env("LVH_WARM_START", "0").env("HOME", home);
        command.current_dir(home).uid(NOBODY).gid(NOBODY);
        command
    };
    doctor(&mut nobody(), "auto", 0, "/dev/kvm permission denied cost: VMs run under TCG, about ten times slower");
    let why = "KVM is not usable: cannot open `/dev/kvm`: Permission denied (os error 13)";
    let forced = Finished::of(nobody().args(SMALLEST).env("LVH_ACCEL", "kvm"));
    assert_eq!(forced.code, Some(125), "{}", forced.stderr);
    assert!(forced.stderr.contains(&format!("error: {why}\n\nhint: add yourself to the group `kvm`")), "{forced:?}");

    let falls_back = Finished::of(nobody().args(SMALLEST).env("LVH_ACCEL", "auto"));
    assert_eq!(falls_back.code, Some(0), "{}", falls_back.stderr);
    assert!(falls_back.stderr.contains(&format!("{why}; using TCG, about ten times slower\n")), "{falls_back:?}");
    assert!(falls_back.stderr.contains(" s (tcg, "), "{falls_back:?}");
    ["data", "lvh"].iter().for_each(|name| unmount(&home.join(name)));
}

/// Shows the kernels and the command `lvh` at paths that anybody may reach; where the kernels are.
fn share_with_nobody(home: &Path) -> PathBuf {
    let (data, lvh) = (home.join("data"), home.join("lvh"));
    fs::create_dir(&data).unwrap();
    fs::write(&lvh, "").unwrap();
    bind(&data_dir(), &data);
    bind(&program(), &lvh);
    give(&data);
    for part in ["", "initramfs", "locks", "resolved", "state", "state/machine", "tmp"] {
        let dir = data.join("store").join(part);
        fs::create_dir_all(&dir).unwrap();
        give(&dir);
    }
    data
}

/// Gives a directory and the files in it to nobody.
fn give(dir: &Path) {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    files.chain([dir.to_owned()]).for_each(|path| chown(path, Some(NOBODY), Some(NOBODY)).unwrap());
}

/// In a mount namespace where `/dev/kvm` is another device: it opens, and no VM runs on it.
pub(crate) fn with_kvm_that_dies() {
    let dies = || {
        let mut command = lvh();
        // SAFETY: between fork and exec, two system calls with constant strings.
        unsafe { command.pre_exec(hide_kvm) };
        command.env("LVH_WARM_START", "0");
        command
    };
    doctor(&mut dies(), "auto", 0, &format!("/dev/kvm opens, but {}", DIES.0));
    doctor(&mut dies(), "kvm", 1, "MISSING /dev/kvm opens, but");

    let first = Finished::of(dies().args(SMALLEST).env("LVH_ACCEL", "auto"));
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert!(first.stderr.contains("booting (kvm)\n") && first.stderr.contains(" s (tcg, "), "{}", first.stderr);
    assert!(first.stderr.contains(DIES.0) && first.stderr.contains(DIES.1), "{}", first.stderr);

    // Known from then on; it is neither tried again nor told.
    let second = until_it_boots(dies().args(SMALLEST).env("LVH_ACCEL", "auto"));
    assert!(second.contains("booting (tcg)") && !second.contains("KVM"), "{second}");
    doctor(&mut dies(), "auto", 0, &format!("/dev/kvm opens, but {}", DIES.0));

    // The one beside it, with the same data directory, is not the worse for it.
    let beside = until_it_boots(lvh().args(SMALLEST).env("LVH_ACCEL", "auto"));
    assert!(beside.contains("booting (kvm)") && !beside.contains("TCG"), "{beside}");
    doctor(&mut lvh(), "auto", 0, "ok /dev/kvm opens, and ");
}

/// What a run says until it boots a VM, which it is spared.
fn until_it_boots(command: &mut Command) -> String {
    let mut lvh = command.stderr(Stdio::piped()).spawn().unwrap();
    let (mut stderr, mut said) = (BufReader::new(lvh.stderr.take().unwrap()), String::new());
    while !said.contains("booting (") {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
    }
    lvh.kill().unwrap();
    lvh.wait().unwrap();
    said
}

/// Puts the calling process into a mount namespace of its own where `/dev/null` is in place of `/dev/kvm`.
fn hide_kvm() -> std::io::Result<()> {
    // SAFETY: constant, NUL-terminated strings.
    let result = unsafe {
        libc::unshare(libc::CLONE_NEWNS)
            | libc::mount(c"/dev/null".as_ptr(), c"/dev/kvm".as_ptr(), ptr::null(), libc::MS_BIND, ptr::null())
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

fn unmount(target: &Path) {
    let path = CString::new(target.to_str().unwrap()).unwrap();
    // SAFETY: a NUL-terminated string that outlives the call.
    let result = unsafe { libc::umount2(path.as_ptr(), 0) };
    assert_eq!(result, 0, "{}: {}", target.display(), std::io::Error::last_os_error());
}

fn bind(source: &Path, target: &Path) {
    let path = |path: &Path| CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: NUL-terminated strings that outlive the call.
    let result =
        unsafe { libc::mount(path(source).as_ptr(), path(target).as_ptr(), ptr::null(), libc::MS_BIND, ptr::null()) };
    assert_eq!(result, 0, "{}: {}", target.display(), std::io::Error::last_os_error());
}
