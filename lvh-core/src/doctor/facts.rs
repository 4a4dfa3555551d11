//! Looking at the machine, without changing it.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};

use super::{Family, trial};
use crate::config::{Accel, Config, Memory};
use crate::kernel::deb::{KEYRINGS, mirror_in};
use crate::machine::{Limits, default_memory};
use crate::vm::qemu::version::{said, version};
use crate::{Arch, Result, vm};

/// Where administrators' programs live; users' PATH on Debian does not name these.
const SBIN: &[&str] = &["usr/local/sbin", "usr/sbin", "sbin"];
/// What container engines make in their containers: Docker, Podman.
const CONTAINER_MARKS: &[&str] = &[".dockerenv", "run/.containerenv"];

/// What the machine has, as far as lvh cares.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The architecture.
    pub arch: Arch,
    /// The family of its distribution.
    pub family: Family,
    /// The QEMU of this architecture, where PATH has it.
    pub qemu: Option<Qemu>,
    /// The accelerator that the user wants.
    pub accel: Accel,
    /// `/dev/kvm`.
    pub kvm: Device,
    /// What KVM does when its device opens.
    pub kvm_trial: Kvm,
    /// What the CPU has for KVM.
    pub virtualisation: Virtualisation,
    /// The machine is a container of Docker or Podman.
    pub container: bool,
    /// What control groups allow.
    pub limits: Limits,
    /// The memory of VMs that say nothing themselves.
    pub memory: Memory,
    /// `/dev/vhost-vsock`.
    pub vhost_vsock: Device,
    /// `apt-get`.
    pub apt_get: Option<PathBuf>,
    /// `dpkg-deb`.
    pub dpkg_deb: Option<PathBuf>,
    /// The archive of Debian kernels: that of the configuration, else that of apt.
    pub mirror: Option<String>,
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
    /// Why it does not run code under TCG, where it does not.
    pub failure: Option<String>,
    /// The devices that lvh serves by itself and this QEMU does not know, such as `vhost-user-fs-pci`.
    pub lacks: Vec<&'static str>,
}

/// What KVM does when its device opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kvm {
    /// Nobody knows: there is no QEMU to try it with, or it is tried on x86-64 only.
    Untried,
    /// It has booted a VM since the machine's own boot.
    Boots,
    /// It runs code; whether it boots a kernel shows with the first VM.
    Runs,
    /// It does not; why.
    Fails(String),
}

/// What a CPU has for KVM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Virtualisation {
    /// Intel's VMX.
    Intel,
    /// AMD's SVM.
    Amd,
    /// The CPU does not show that it has either.
    Hidden,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// There is none.
    Absent,
    /// This user may not open it; members of this group may, where there is one.
    Denied(Option<String>),
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
    /// Whether it is there already.
    pub exists: bool,
    /// Free bytes there, where the system tells.
    pub free: Option<u64>,
}

/// What lvh's own devices need of QEMU: `hw/virtio/vhost-user-vsock-pci.c`, `vhost-user-fs-pci.c`.
const OWN_DEVICES: [&str; 2] = ["vhost-user-vsock-pci", "vhost-user-fs-pci"];

impl Facts {
    /// Looks at the machine below `root` (`/` but for tests), with the programs of `path` (as in `PATH`).
    ///
    /// # Errors
    /// There is no place for the data directory.
    pub fn gather(root: &Path, path: &OsStr, config: &Config) -> Result<Self> {
        let arch = Arch::HOST;
        let program = |name: &str| find_program(root, path, name);
        let data_dir = config.data_dir()?;
        let qemu = program(&format!("qemu-system-{arch}")).map(Qemu::ask);
        let kvm = Device::open(&root.join("dev/kvm"), root);
        let limits = Limits::read(root);
        Ok(Self {
            arch,
            family: Family::of_machine(root),
            accel: config.vm.accel,
            kvm_trial: Kvm::find_out(&kvm, qemu.as_ref(), &data_dir),
            virtualisation: Virtualisation::of(root),
            container: CONTAINER_MARKS.iter().any(|mark| root.join(mark).exists()),
            memory: config.vm.memory.unwrap_or_else(|| default_memory(&limits)),
            limits,
            vhost_vsock: Device::open(&root.join("dev/vhost-vsock"), root),
            apt_get: program("apt-get"),
            dpkg_deb: program("dpkg-deb"),
            mirror: config.debian_mirror.clone().or_else(|| mirror_in(&root.join("etc/apt")).ok()),
            keyring: KEYRINGS.iter().map(|name| root.join(name)).find(|file| file.is_file()),
            depmod: program("depmod"),
            modprobe: program("modprobe"),
            data_dir: DataDir::look(&data_dir),
            qemu,
            kvm,
        })
    }
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
        let devices = said(&path, &["-device", "help"]);
        let unknown =
            |device: &&str| devices.as_ref().is_some_and(|devices| !devices.contains(&format!("name \"{device}\"")));
        Self {
            version: version(&path),
            failure: trial_is_known().then(|| trial::run(&path, "tcg").err()).flatten(),
            lacks: OWN_DEVICES.into_iter().filter(unknown).collect(),
            path,
        }
    }
}

/// The code of the trial is x86's.
fn trial_is_known() -> bool {
    Arch::HOST == Arch::X86_64
}

impl Kvm {
    fn of(trial: std::result::Result<(), vm::kvm::Fault>) -> Self {
        trial.map_or_else(|fault| Self::Fails(fault.to_string()), |()| Self::Runs)
    }

    fn find_out(device: &Device, qemu: Option<&Qemu>, data_dir: &Path) -> Self {
        match (device, vm::remembered_kvm(data_dir), qemu) {
            (Device::Opens, Some(Ok(())), _) => Self::Boots,
            (Device::Opens, Some(Err(why)), _) => Self::Fails(why),
            (Device::Opens, None, Some(qemu)) if trial_is_known() && qemu.failure.is_none() => {
                match trial::run(&qemu.path, "kvm").map_err(|why| format!("KVM does not work on this machine ({why})"))
                {
                    Ok(()) => vm::open_kvm().map_or(Self::Untried, |kvm| Self::of(vm::kvm::trial(&kvm))),
                    Err(why) => Self::Fails(why),
                }
            }
            _ => Self::Untried,
        }
    }
}

impl Virtualisation {
    /// Reads the flags in `/proc/cpuinfo`.
    fn of(root: &Path) -> Self {
        let text = std::fs::read_to_string(root.join("proc/cpuinfo")).unwrap_or_default();
        let flags = text.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
        match flags.split_whitespace().find(|flag| ["vmx", "svm"].contains(flag)) {
            Some("vmx") => Self::Intel,
            Some(_) => Self::Amd,
            None => Self::Hidden,
        }
    }
}

impl Device {
    /// Opens `path`; the names of groups are those of the machine below `root`.
    fn open(path: &Path, root: &Path) -> Self {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(_) => Self::Opens,
            Err(error) if error.kind() == ErrorKind::NotFound => Self::Absent,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Self::Denied(group_that_may_open(path, root)),
            Err(error) => Self::Broken(error.to_string()),
        }
    }
}

/// The group whose members may read and write `path`; root's does not count.
fn group_that_may_open(path: &Path, root: &Path) -> Option<String> {
    let meta = path.metadata().ok()?;
    let groups = std::fs::read_to_string(root.join("etc/group")).ok()?;
    let id = Some(meta.gid()).filter(|&gid| gid != 0 && meta.mode() & 0o060 == 0o060)?.to_string();
    // group(5): name:password:GID:members
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}

impl DataDir {
    fn look(path: &Path) -> Self {
        let nearest = path.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("."));
        let writable = nearest.is_dir() && access(nearest, Access::WRITE_OK | Access::EXEC_OK).is_ok();
        Self { path: path.to_owned(), exists: path.is_dir(), writable, free: free_bytes(nearest) }
    }
}

/// Bytes that an ordinary user may still write to the file system of `dir`.
fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = statvfs(dir).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory tree that goes with the test.
    struct Root(tempfile::TempDir);

    impl Root {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn join(&self, path: impl AsRef<Path>) -> PathBuf {
            self.0.path().join(path)
        }

        /// What is found here, with `bin` as PATH.
        fn facts(&self, data_dir: &str) -> Facts {
            let mut config = Config::default();
            config.data_dir = Some(self.join(data_dir));
            Facts::gather(self.0.path(), self.join("bin").as_os_str(), &config).unwrap()
        }

        fn write(&self, path: &str, text: &str, mode: u32) {
            let file = self.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    #[test]
    fn an_empty_machine_has_nothing() {
        let root = Root::new();
        let facts = root.facts("data/lvh");
        assert_eq!((facts.qemu, facts.kvm, facts.vhost_vsock), (None, Device::Absent, Device::Absent));
        assert_eq!((facts.apt_get, facts.dpkg_deb, facts.keyring, facts.depmod), (None, None, None, None));
        assert_eq!((facts.family, facts.mirror), (Family::Unknown, None));
        assert_eq!((facts.kvm_trial, facts.virtualisation), (Kvm::Untried, Virtualisation::Hidden));
        assert!(!facts.container && !facts.data_dir.exists);
        assert!(facts.data_dir.writable, "its parent is");
        assert!(facts.data_dir.free.is_some());
        assert!(!root.join("data").exists(), "looking makes nothing");
    }

    #[test]
    fn programs_and_files_are_found() {
        let root = Root::new();
        root.write("etc/os-release", "ID=arch\n", 0o644);
        root.write("bin/apt-get", "not executable", 0o644);
        root.write("usr/sbin/depmod", "", 0o755);
        root.write("usr/share/keyrings/debian-archive-keyring.pgp", "", 0o644);
        root.write("data", "a file", 0o644);
        root.write("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu svm lm\n", 0o644);
        root.write("run/.containerenv", "", 0o644);
        root.write("etc/apt/sources.list", "deb https://mirror.example/debian trixie main\n", 0o644);
        let facts = root.facts("data");
        assert_eq!((facts.virtualisation, facts.container), (Virtualisation::Amd, true));
        assert_eq!(facts.mirror.as_deref(), Some("https://mirror.example/debian"));
        assert_eq!(facts.family, Family::Arch);
        assert_eq!(facts.apt_get, None);
        assert_eq!(facts.depmod, Some(root.join("usr/sbin/depmod")));
        assert_eq!(facts.keyring, Some(root.join(KEYRINGS[1])));
        assert!(!facts.data_dir.writable, "a file is no directory");
    }

    /// A QEMU that is a script of the shell.
    fn check_qemu(script: &str, version: Option<(u32, u32)>, failure: Option<&str>, lacks: &[&str]) {
        let root = Root::new();
        root.write("script", &format!("#!/bin/sh\n{script}\n"), 0o755);
        root.write("bin/other", "", 0o644);
        // Written by another process: while ours has a program open for writing, the child of any test's thread may
        // have so too for a moment, and exec(2) would refuse it (ETXTBSY).
        let qemu = root.join(format!("bin/qemu-system-{}", Arch::HOST));
        let copied = std::process::Command::new("cp").arg(root.join("script")).arg(&qemu).status().unwrap();
        assert!(copied.success());
        let qemu = root.facts("data").qemu.unwrap();
        assert_eq!((qemu.version, qemu.lacks.as_slice()), (version, lacks), "{script}");
        if trial_is_known() {
            assert_eq!(qemu.failure.as_deref(), failure, "{script}");
        }
    }

    #[test]
    fn a_qemu_is_asked_and_tried() {
        let help = "name \"vhost-user-fs-pci\", bus PCI";
        let old = format!(
            "case $1 in --version) echo QEMU emulator version 4.2.1;; -device) echo '{help}';; *) exit 33; esac"
        );
        check_qemu(&old, Some((4, 2)), None, &["vhost-user-vsock-pci"]);
        let broken = "echo \"$(basename $0): cannot open shared object file\" >&2; exit 127";
        check_qemu(broken, None, Some("cannot open shared object file"), &[]);
        check_qemu("exit 0", None, Some("ended with exit code 0"), &OWN_DEVICES);
    }
}
