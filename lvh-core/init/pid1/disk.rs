//! The way of `lvh run` to a disk whose drivers are modules, or whose systemd is to start lvh's agent: what a distribution's initramfs
//! does, and no more. Nobody talks to this program; the root's own init takes over.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::pid1::modules::{load_all, once_there};
use crate::pid1::mounts::{context, make_dir};
use crate::pid1::root;
use crate::sys::{self, MS_MOVE, MS_NODEV, MS_NOSUID, MS_RDONLY};

/// The initramfs brings it where this is wanted: the 9p tag of the kernel's modules, or nothing.
const ORDER: &str = "/lvh/disk";

/// The initramfs brings it where systemd is to start the agent: its service.
const AGENT: &str = "/lvh/agent.service";

/// What the kernel would try (init/main.c, kernel_init), in this order.
const INITS: [&str; 4] = ["/sbin/init", "/etc/init", "/bin/init", "/bin/sh"];

/// The 9p tag of the modules, where this is what the initramfs is for.
pub fn order() -> Option<String> {
    fs::read_to_string(ORDER).ok()
}

/// Becomes the init on the disk that the kernel's words name.
pub fn boot(tag: &str) -> io::Result<()> {
    load_all(Path::new("/lvh/modules"))?;
    let (words, release) = (read("/proc/cmdline")?, read("/proc/sys/kernel/osrelease")?);
    let words = Words(&words);
    let agent = match fs::read(AGENT) {
        Ok(unit) => Some((unit, fs::read("/init")?)),
        Err(_none) => None,
    };
    mount_root(&words)?;
    // As the kernel leaves it: with devices, and without the rest.
    let dev = Path::new(root::ROOT).join("dev");
    if dev.is_dir() {
        sys::mount_at(Path::new("/dev"), &dev, "", MS_MOVE, "").map_err(|error| context(error, &dev))?;
    }
    root::enter(Path::new(root::ROOT))?;
    if !tag.is_empty() {
        // The rest of the guest may do without.
        if let Err(error) = mount_modules(tag, &release) {
            crate::complain(&error.to_string());
        }
    }
    let inits = inits(&words);
    if let Some((unit, program)) = agent.filter(|_| are_systemd(&inits))
        && let Err(error) = bring_agent(&unit, &program)
    {
        crate::complain(&format!("no agent: {error}"));
    }
    start(&inits)
}

fn read(path: &str) -> io::Result<String> {
    fs::read_to_string(path).map(|text| text.trim_end().to_owned())
}

fn mount_root(words: &Words<'_>) -> io::Result<()> {
    let device = words.value("root").filter(|device| device.starts_with("/dev/"));
    let device = device.ok_or_else(|| io::Error::other("the kernel's command line has no root=/dev/…"))?;
    let flags = if words.is_read_only() { MS_RDONLY } else { 0 };
    fs::create_dir_all(root::ROOT)?;
    once_there(|| fs::metadata(device).map(drop)).map_err(|error| context(error, Path::new(device)))?;
    sys::mount_at(Path::new(device), Path::new(root::ROOT), words.value("rootfstype").unwrap_or("ext4"), flags, "")
        .map_err(|error| context(error, Path::new(device)))
}

fn mount_modules(tag: &str, release: &str) -> io::Result<()> {
    let target = Path::new("/lib/modules").join(release);
    let data = "trans=virtio,version=9p2000.L,msize=512000,cache=loose";
    make_dir(&target)
        .and_then(|()| sys::mount_at(Path::new(tag), &target, "9p", MS_RDONLY, data))
        .map_err(|error| context(error, &target))
}

/// What is to be tried in its order.
fn inits<'a>(words: &Words<'a>) -> Vec<&'a str> {
    words.value("init").map_or_else(|| INITS.to_vec(), |init| vec![init])
}

/// Whether the first of them that there is is systemd: others would not start the agent, and programs take what it reads for the sign
/// that it runs (sd_booted(3)).
fn are_systemd(inits: &[&str]) -> bool {
    let mut found = inits.iter().filter_map(|init| fs::canonicalize(init).ok());
    found.next().is_some_and(|init| init.file_name() == Some(OsStr::new("systemd")))
}

/// Leaves the agent and its service in `/run`, which systemd takes as it is. In a directory of its own, for systemd may later forbid
/// programs to run in the rest.
fn bring_agent(unit: &[u8], program: &[u8]) -> io::Result<()> {
    let mount = |target: &Path, data: &str| {
        sys::mount_at(Path::new("tmpfs"), target, "tmpfs", MS_NOSUID | MS_NODEV, data)
            .map_err(|error| context(error, target))
    };
    mount(Path::new("/run"), "mode=755")?;
    let (home, units) = (Path::new("/run/lvh"), Path::new("/run/systemd/system"));
    let wanted = units.join("multi-user.target.wants");
    [home, &wanted].into_iter().try_for_each(fs::create_dir_all)?;
    mount(home, "mode=700")?;
    fs::write(home.join("agent"), program)?;
    fs::set_permissions(home.join("agent"), Permissions::from_mode(0o700))?;
    fs::write(units.join("lvh-agent.service"), unit)?;
    symlink("../lvh-agent.service", wanted.join("lvh-agent.service"))
}

/// Returns where there is no init. It gets the words and variables that the kernel gave us.
fn start(inits: &[&str]) -> io::Result<()> {
    let start = |init: &&str| Command::new(init).args(std::env::args_os().skip(1)).exec();
    let failures: Vec<String> = inits.iter().map(|init| format!("`{init}`: {}", start(init))).collect();
    Err(io::Error::other(format!("the disk has no init that starts ({})", failures.join("; "))))
}

/// The kernel's command line.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    /// The value of the last `key=value`.
    fn value(&self, key: &str) -> Option<&'a str> {
        self.all().filter_map(|word| word.strip_prefix(key)?.strip_prefix('=')).last()
    }

    /// The kernel takes the last of the two, and read-only without one.
    fn is_read_only(&self) -> bool {
        self.all().filter(|word| ["ro", "rw"].contains(word)).last() != Some("rw")
    }

    /// The words that are for the kernel.
    fn all(&self) -> impl Iterator<Item = &'a str> {
        self.0.split_whitespace().take_while(|word| *word != "--")
    }
}
