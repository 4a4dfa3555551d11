//! Looking at the machine, without changing it.

use std::ffi::{CString, OsStr};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Family;
use super::install::{Thing, install};

/// How long a program may take to tell its version.
const VERSION_DEADLINE: Duration = Duration::from_secs(10);
/// Where administrators' programs live; users' PATH on Debian does not name these.
const SBIN: &[&str] = &["usr/local/sbin", "usr/sbin", "sbin"];
/// The names under which distributions install Debian's archive keyring.
const KEYRINGS: &[&str] =
    &["usr/share/keyrings/debian-archive-keyring.gpg", "usr/share/keyrings/debian-archive-keyring.pgp"];

/// What the machine has, as far as lvh cares.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The architecture, as in `std::env::consts::ARCH`.
    pub arch: String,
    /// The family of its distribution.
    pub family: Family,
    /// The QEMU of this architecture, where PATH has it.
    pub qemu: Option<Qemu>,
    /// `/dev/kvm`.
    pub kvm: Device,
    /// Why KVM did not boot a VM although its device opens, as remembered since the machine's boot.
    pub kvm_verdict: Option<String>,
    /// `/dev/vhost-vsock`.
    pub vhost_vsock: Device,
    /// `apt-get`.
    pub apt_get: Option<PathBuf>,
    /// `dpkg-deb`.
    pub dpkg_deb: Option<PathBuf>,
    /// Debian's archive keyring.
    pub keyring: Option<PathBuf>,
    /// `depmod`.
    pub depmod: Option<PathBuf>,
    /// `modprobe`.
    pub modprobe: Option<PathBuf>,
    /// The directory of kernels and images.
    pub data_dir: DataDir,
}

/// A QEMU binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qemu {
    /// Where it is.
    pub path: PathBuf,
    /// Its version's first two numbers, where it told them.
    pub version: Option<(u32, u32)>,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// There is none.
    Absent,
    /// This user may not open it.
    Denied,
    /// It does not open, for the reason given.
    Broken(String),
    /// It opens.
    Opens,
}

/// The data directory, which need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir {
    /// Where it is or will be.
    pub path: PathBuf,
    /// Whether it, or else its nearest existing parent, is a directory that can be written.
    pub writable: bool,
    /// Free bytes there, where the system tells.
    pub free: Option<u64>,
}

impl Facts {
    /// Looks at the machine below `root` (`/` but for tests), with the programs of `path` (as in `PATH`).
    pub fn gather(root: &Path, path: &OsStr, data_dir: &Path) -> Self {
        let arch = std::env::consts::ARCH;
        let program = |name: &str| find_program(root, path, name);
        Self {
            arch: arch.to_owned(),
            family: family(root),
            qemu: program(&format!("qemu-system-{arch}")).map(Qemu::ask),
            kvm: Device::open(&root.join("dev/kvm")),
            kvm_verdict: crate::vm::remembered_kvm_failure(data_dir),
            vhost_vsock: Device::open(&root.join("dev/vhost-vsock")),
            apt_get: program("apt-get"),
            dpkg_deb: program("dpkg-deb"),
            keyring: KEYRINGS.iter().map(|name| root.join(name)).find(|file| file.is_file()),
            depmod: program("depmod"),
            modprobe: program("modprobe"),
            data_dir: DataDir::look(data_dir),
        }
    }
}

/// The distribution's family, as os-release(5) tells it.
fn family(root: &Path) -> Family {
    let os_release = std::fs::read_to_string(root.join("etc/os-release"))
        .or_else(|_| std::fs::read_to_string(root.join("usr/lib/os-release")));
    Family::of(&os_release.unwrap_or_default())
}

/// The command that installs QEMU on this machine.
pub(crate) fn install_qemu() -> String {
    install(family(Path::new("/")), Thing::Qemu, std::env::consts::ARCH)
}

/// The first executable file of that name in `path`, then in the `sbin` directories.
fn find_program(root: &Path, path: &OsStr, name: &str) -> Option<PathBuf> {
    let sbin = SBIN.iter().map(|dir| root.join(dir));
    std::env::split_paths(path).chain(sbin).map(|dir| dir.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

impl Qemu {
    fn ask(path: PathBuf) -> Self {
        let version = qemu_version(&path);
        Self { path, version }
    }
}

/// The first two numbers of a QEMU's version, where it tells them.
pub(crate) fn qemu_version(program: impl AsRef<Path>) -> Option<(u32, u32)> {
    output_of_version(program.as_ref()).as_deref().and_then(parse_version)
}

/// What `program --version` prints, unless it fails or takes too long.
fn output_of_version(program: &Path) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let deadline = Instant::now() + VERSION_DEADLINE;
    while child.try_wait().ok()?.is_none() {
        if Instant::now() > deadline {
            // It may have ended just now; either way it is gone after this.
            let _ = child.kill().and_then(|()| child.wait());
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // A version fits the pipe's buffer, so that reading after the end loses nothing.
    let mut text = String::new();
    child.stdout.take()?.read_to_string(&mut text).ok()?;
    Some(text)
}

/// Reads `QEMU emulator version 7.2.22 (…)`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let version = text.split_once("version ")?.1;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

impl Device {
    fn open(path: &Path) -> Self {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(_) => Self::Opens,
            Err(error) if error.kind() == ErrorKind::NotFound => Self::Absent,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Self::Denied,
            Err(error) => Self::Broken(error.to_string()),
        }
    }
}

impl DataDir {
    fn look(path: &Path) -> Self {
        let nearest = path.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("."));
        let name = CString::new(nearest.as_os_str().as_bytes()).ok();
        let writable = nearest.is_dir() && name.as_deref().is_some_and(may_write);
        Self { path: path.to_owned(), writable, free: name.as_deref().and_then(free_bytes) }
    }
}

fn may_write(dir: &std::ffi::CStr) -> bool {
    // SAFETY: the pointer is to a NUL-terminated string that outlives the call.
    unsafe { libc::access(dir.as_ptr(), libc::W_OK | libc::X_OK) == 0 }
}

/// Bytes that an ordinary user may still write to the file system of `dir`.
#[allow(clippy::unnecessary_cast, reason = "the fields are narrower on other systems than on 64-bit Linux")]
fn free_bytes(dir: &std::ffi::CStr) -> Option<u64> {
    let mut stat = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the string is NUL-terminated, and the pointer is to writable memory of the structure's size.
    let result = unsafe { libc::statvfs(dir.as_ptr(), stat.as_mut_ptr()) };
    if result != 0 {
        return None;
    }
    // SAFETY: statvfs(3) returned 0, so that it has filled the structure.
    let stat = unsafe { stat.assume_init() };
    Some(stat.f_bavail as u64 * stat.f_frsize as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory tree that is removed at the end.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("lvh-doctor-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn write(&self, path: &str, text: &str, mode: u32) {
            let file = self.0.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn an_empty_machine_has_nothing() {
        let root = Root::new("empty");
        let facts = Facts::gather(&root.0, root.0.join("bin").as_os_str(), &root.0.join("data/lvh"));
        assert_eq!((facts.qemu, facts.kvm, facts.vhost_vsock), (None, Device::Absent, Device::Absent));
        assert_eq!((facts.apt_get, facts.dpkg_deb, facts.keyring, facts.depmod), (None, None, None, None));
        assert_eq!(facts.family, Family::Unknown);
        assert!(facts.data_dir.writable, "its parent is");
        assert!(facts.data_dir.free.is_some());
        assert!(!root.0.join("data").exists(), "looking makes nothing");
    }

    #[test]
    fn programs_and_files_are_found() {
        let root = Root::new("full");
        root.write("etc/os-release", "ID=arch\n", 0o644);
        root.write("bin/apt-get", "not executable", 0o644);
        root.write("usr/sbin/depmod", "", 0o755);
        root.write("usr/share/keyrings/debian-archive-keyring.pgp", "", 0o644);
        root.write("data", "a file", 0o644);
        let facts = Facts::gather(&root.0, root.0.join("bin").as_os_str(), &root.0.join("data"));
        assert_eq!(facts.family, Family::Arch);
        assert_eq!(facts.apt_get, None);
        assert_eq!(facts.depmod, Some(root.0.join("usr/sbin/depmod")));
        assert_eq!(facts.keyring, Some(root.0.join(KEYRINGS[1])));
        assert!(!facts.data_dir.writable, "a file is no directory");
    }

    #[test]
    fn versions_are_read() {
        let check = |text: &str, expected| assert_eq!(parse_version(text), expected, "{text}");
        check("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright", Some((7, 2)));
        check("QEMU emulator version 10.0.2", Some((10, 0)));
        check("QEMU emulator version x", None);
        check("", None);
    }
}
