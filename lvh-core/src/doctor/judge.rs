//! From facts to verdicts.

use super::{Check, Device, Facts, Kvm, Qemu, State, Virtualisation};
use crate::config::Accel;
use crate::machine::{self, VM_TASKS};
use crate::process::install::{Thing, install};

/// The first QEMU whose TCG runs a guest that patches its own code on several threads.
const QEMU_TCG_THREADS: (u32, u32) = (8, 1);
/// Below this a kernel or two with their sources may not fit.
const LITTLE_SPACE: u64 = 2 << 30;

/// One check for each thing that lvh needs or can use; the mandatory ones first.
pub fn judge(facts: &Facts) -> Vec<Check> {
    let own_devices = facts.qemu.iter().flat_map(|qemu| own_devices(facts, qemu));
    [qemu(facts)]
        .into_iter()
        .chain(own_devices)
        .chain([data_dir(facts), kvm(facts), vhost_vsock(facts), deb_tools(facts)])
        // Without apt-get there is no configuration of apt to look for a mirror in.
        .chain(facts.apt_get.is_some().then(|| mirror(facts)))
        .chain([keyring(facts), kmod(facts)])
        .chain(limits(facts))
        .collect()
}

fn qemu(facts: &Facts) -> Check {
    let Some(qemu) = &facts.qemu else {
        let found = format!("`qemu-system-{}` was not found in PATH", facts.arch);
        let fix = install(facts.family, Thing::Qemu, facts.arch);
        return Check::lack("QEMU", State::Missing, found, "no VM can start", fix);
    };
    let path = qemu.path.display();
    if let Some(why) = &qemu.failure {
        let fix = format!("install it again: {}", install(facts.family, Thing::Qemu, facts.arch));
        return Check::lack("QEMU", State::Missing, format!("{path} does not run: {why}"), "no VM can start", fix);
    }
    let has_kvm = matches!(facts.kvm_trial, Kvm::Boots | Kvm::Runs) && facts.accel != Accel::Tcg;
    match qemu.version {
        None => Check::lack(
            "QEMU",
            State::Degraded,
            format!("{path} does not tell its version"),
            "it may not start at all",
            format!("see what `{path} --version` says"),
        ),
        Some(version @ (major, minor)) if version < QEMU_TCG_THREADS && !has_kvm => Check::lack(
            "QEMU",
            State::Degraded,
            format!("{path} (version {major}.{minor})"),
            "without KVM a guest gets one CPU: TCG before 8.1 corrupts guests that have more",
            "install QEMU 8.1 or newer (Debian 13, Ubuntu 24.04 and Fedora 39 have one)".to_owned(),
        ),
        Some((major, minor)) => Check::ok("QEMU", format!("{path} (version {major}.{minor})")),
    }
}

/// The devices that lvh serves by itself: a VM would be started with them, whether QEMU knows them or not.
fn own_devices(facts: &Facts, qemu: &Qemu) -> [Check; 2] {
    let check = |name, device, cost, variable| match qemu.lacks.contains(&device) {
        false => Check::ok(name, format!("served by lvh itself, through QEMU's `{device}`")),
        true => {
            let found = format!("{} has no device `{device}`", qemu.path.display());
            let full = install(facts.family, Thing::Qemu, facts.arch);
            Check::lack(name, State::Missing, found, cost, format!("{full} (5.2 or newer), or set {variable}"))
        }
    };
    let no_vsock = "VMs of kernels that have vsock do not start";
    let no_virtiofs = "VMs of kernels that have virtiofs do not start";
    [
        check("vsock", "vhost-user-vsock-pci", no_vsock, "LVH_CHANNEL=virtio-serial"),
        check("virtiofs", "vhost-user-fs-pci", no_virtiofs, "LVH_SHARE=9p"),
    ]
}

fn data_dir(facts: &Facts) -> Check {
    let dir = &facts.data_dir;
    let path = dir.path.display();
    let elsewhere = "set `LVH_DATA_DIR`, or `data-dir` in `lvh.toml`, to a directory";
    let missing = |found: String, fix: String| {
        Check::lack("data directory", State::Missing, found, "kernels cannot be kept", fix)
    };
    if !dir.writable {
        return missing(format!("{path} cannot be written"), format!("{elsewhere} of yours"));
    }
    if dir.free == Some(0) && !dir.exists {
        return missing(format!("{path} has no free space"), format!("free some, or {elsewhere} with more"));
    }
    let Some(free) = dir.free else { return Check::ok("data directory", path.to_string()) };
    let found = format!("{path} ({:.1} GiB free)", free as f64 / f64::from(1 << 30));
    if free < LITTLE_SPACE {
        let (cost, fix) = (
            "a kernel takes up to 0.4 GiB: new ones may not fit",
            format!("free some space, or {elsewhere} with more"),
        );
        return Check::lack("data directory", State::Degraded, found, cost, fix);
    }
    Check::ok("data directory", found)
}

fn kvm(facts: &Facts) -> Check {
    let (state, cost) = match facts.accel {
        Accel::Kvm => (State::Missing, "no VM starts, for `accel` or LVH_ACCEL demands KVM"),
        Accel::Tcg => (State::Optional, "nothing, for `accel` or LVH_ACCEL demands TCG"),
        Accel::Auto => (State::Degraded, "VMs run under TCG, about ten times slower"),
    };
    let lack = |found: String, fix: String| Check::lack("/dev/kvm", state, found, cost, fix);
    match (&facts.kvm, &facts.kvm_trial) {
        (Device::Absent, _) => lack("does not exist".to_owned(), make_kvm(facts)),
        (Device::Denied(group), _) => lack("permission denied".to_owned(), let_in("/dev/kvm", group.as_deref())),
        (Device::Broken(why), _) => lack(format!("does not open: {why}"), make_kvm(facts)),
        (Device::Opens, Kvm::Fails(why)) => lack(
            format!("opens, but {why}"),
            "this machine seems to be a VM itself: switch on nested virtualisation in the hypervisor above, or take a \
             machine that has it; LVH_ACCEL=tcg spares the trial"
                .to_owned(),
        ),
        (Device::Opens, Kvm::Boots) => Check::ok("/dev/kvm", "opens, and has booted a VM"),
        (Device::Opens, Kvm::Runs) => Check::ok("/dev/kvm", "opens, and runs code"),
        (Device::Opens, Kvm::Untried) => Check::ok("/dev/kvm", "opens (whether it boots shows with the first VM)"),
    }
}

/// How a machine without `/dev/kvm` gets one.
fn make_kvm(facts: &Facts) -> String {
    let module = match (facts.container, facts.virtualisation) {
        (true, _) => return "start the container with `--device /dev/kvm`, on a host that has it".to_owned(),
        (false, Virtualisation::Intel) => "kvm_intel",
        (false, Virtualisation::Amd) => "kvm_amd",
        (false, Virtualisation::Hidden) => {
            return "switch virtualisation on in the firmware; in a VM, switch on nested virtualisation in the \
                    hypervisor above"
                .to_owned();
        }
    };
    format!("sudo modprobe {module}")
}

/// How a user comes to open a device.
fn let_in(device: &str, group: Option<&str>) -> String {
    match group {
        Some(group) => format!(
            "sudo usermod -aG {group} \"$USER\", then log in again; or, until the machine boots again: sudo chmod a+rw \
             {device}"
        ),
        None => format!("sudo chmod a+rw {device} (until the machine boots again)"),
    }
}

fn vhost_vsock(facts: &Facts) -> Check {
    let lack = |found: &str, fix: String| {
        let cost = "none: lvh's own vsock device is as good";
        Check::lack("/dev/vhost-vsock", State::Optional, found, cost, fix)
    };
    let load = || match facts.container {
        true => "start the container with `--device /dev/vhost-vsock`, on a host that has it".to_owned(),
        false => "sudo modprobe vhost_vsock".to_owned(),
    };
    match &facts.vhost_vsock {
        Device::Opens => Check::ok("/dev/vhost-vsock", "opens"),
        Device::Absent => lack("does not exist", load()),
        Device::Denied(group) => lack("permission denied", let_in("/dev/vhost-vsock", group.as_deref())),
        Device::Broken(why) => lack(&format!("does not open: {why}"), load()),
    }
}

fn mirror(facts: &Facts) -> Check {
    match &facts.mirror {
        Some(mirror) => Check::ok("Debian archive", mirror),
        None => Check::lack(
            "Debian archive",
            State::Degraded,
            "neither LVH_DEBIAN_MIRROR nor this machine's apt configuration names one",
            "kernels of Debian packages cannot be fetched (`5.10`, `6.1`, `6.12`), unless `mirror` names one",
            "export LVH_DEBIAN_MIRROR=URL, the base URL of a Debian archive that you trust (it ends in /debian)"
                .to_owned(),
        ),
    }
}

fn deb_tools(facts: &Facts) -> Check {
    let missing: Vec<&str> = [("`apt-get`", &facts.apt_get), ("`dpkg-deb`", &facts.dpkg_deb)]
        .into_iter()
        .filter_map(|(name, path)| path.is_none().then_some(name))
        .collect();
    if missing.is_empty() {
        return Check::ok("apt-get, dpkg-deb", "found");
    }
    let cost = "kernels of Debian packages cannot be fetched (`deb`, `5.10`, `6.1`, `6.12`)";
    let fix = install(facts.family, Thing::DebTools, facts.arch);
    Check::lack("apt-get, dpkg-deb", State::Degraded, not_found(&missing), cost, fix)
}

fn keyring(facts: &Facts) -> Check {
    match &facts.keyring {
        Some(path) => Check::ok("Debian keyring", path.display().to_string()),
        None => Check::lack(
            "Debian keyring",
            State::Degraded,
            "not found in /usr/share/keyrings",
            "Debian's signatures cannot be checked, so that its kernels are refused unless `keyring` names one",
            install(facts.family, Thing::Keyring, facts.arch),
        ),
    }
}

fn kmod(facts: &Facts) -> Check {
    let missing: Vec<&str> = [("`depmod`", &facts.depmod), ("`modprobe`", &facts.modprobe)]
        .into_iter()
        .filter_map(|(name, path)| path.is_none().then_some(name))
        .collect();
    if missing.is_empty() {
        return Check::ok("depmod, modprobe", "found");
    }
    let cost = "tests on the host's root cannot call `modprobe` in the guest";
    let fix = install(facts.family, Thing::Kmod, facts.arch);
    Check::lack("depmod, modprobe", State::Degraded, not_found(&missing), cost, fix)
}

/// What control groups allow, where they set a limit.
fn limits(facts: &Facts) -> Vec<Check> {
    let limits = &facts.limits;
    let memory = limits.memory.as_ref().map(|limit| {
        let found = limit.as_memory();
        match machine::check_limits(limits, facts.memory) {
            Ok(()) => Check::ok("memory limit", found),
            Err(error) => {
                let cost = "no VM starts with the memory that `[vm]` gives it";
                Check::lack("memory limit", State::Missing, found, cost, error.hint().unwrap_or_default().to_owned())
            }
        }
    });
    let tasks = limits.tasks.as_ref().map(|limit| match limit.value < VM_TASKS {
        false => Check::ok("process limit", limit.to_string()),
        true => {
            let (cost, fix) = ("threads and QEMU may not start", format!("raise it to {VM_TASKS} or more for each VM"));
            Check::lack("process limit", State::Degraded, limit.to_string(), cost, fix)
        }
    });
    let cpu = limits.cpu.as_ref().map(|limit| {
        let found = format!("{:.2} processors (`{}`)", limit.value as f64 / 100.0, limit.file.display());
        Check::ok("CPU limit", found)
    });
    memory.into_iter().chain(tasks).chain(cpu).collect()
}

fn not_found(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "was" } else { "were" };
    format!("{} {verb} not found", names.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::super::{DataDir, Family, can_run};
    use super::*;
    use crate::Arch;
    use crate::config::Memory;
    use crate::machine::{Limit, Limits};

    /// A Debian machine that has everything.
    fn healthy() -> Facts {
        Facts {
            arch: Arch::X86_64,
            family: Family::Debian,
            qemu: Some(Qemu {
                path: "/usr/bin/qemu-system-x86_64".into(),
                version: Some((10, 0)),
                failure: None,
                lacks: Vec::new(),
            }),
            accel: Accel::Auto,
            kvm: Device::Opens,
            kvm_trial: Kvm::Runs,
            virtualisation: Virtualisation::Intel,
            container: false,
            limits: Limits::default(),
            memory: Memory::from_mib(1024),
            mirror: Some("https://mirror.example/debian".into()),
            vhost_vsock: Device::Opens,
            apt_get: Some("/usr/bin/apt-get".into()),
            dpkg_deb: Some("/usr/bin/dpkg-deb".into()),
            keyring: Some("/usr/share/keyrings/debian-archive-keyring.gpg".into()),
            depmod: Some("/usr/sbin/depmod".into()),
            modprobe: Some("/usr/sbin/modprobe".into()),
            data_dir: DataDir { path: "/home/u/.cache/lvh".into(), writable: true, exists: true, free: Some(10 << 30) },
        }
    }

    /// The one check that lacks something after `break_it`, as `state found | fix`.
    fn check(break_it: impl Fn(&mut Facts), expected: &str) {
        let mut facts = healthy();
        break_it(&mut facts);
        let lacks: Vec<Check> = judge(&facts).into_iter().filter(|check| check.state != State::Ok).collect();
        let [lack] = lacks.as_slice() else { panic!("{lacks:?}") };
        let text = format!("{:?} {}: {} | {}", lack.state, lack.name, lack.found, lack.fix.as_deref().unwrap_or("-"));
        assert_eq!(text, expected);
        assert_eq!(can_run(&lacks), lack.state != State::Missing);
    }

    #[test]
    fn a_healthy_machine_lacks_nothing() {
        let checks = judge(&healthy());
        assert!(checks.iter().all(|check| check.state == State::Ok && check.fix.is_none()), "{checks:?}");
    }

    #[test]
    fn mandatory_things() {
        check(
            |facts| facts.qemu = None,
            "Missing QEMU: `qemu-system-x86_64` was not found in PATH | sudo apt install qemu-system-x86",
        );
        check(
            |facts| facts.qemu.as_mut().unwrap().failure = Some("no libpixman".into()),
            "Missing QEMU: /usr/bin/qemu-system-x86_64 does not run: no libpixman | install it again: sudo apt install \
             qemu-system-x86",
        );
        check(
            |facts| facts.qemu.as_mut().unwrap().lacks.push("vhost-user-fs-pci"),
            "Missing virtiofs: /usr/bin/qemu-system-x86_64 has no device `vhost-user-fs-pci` | sudo apt install \
             qemu-system-x86 (5.2 or newer), or set LVH_SHARE=9p",
        );
        let elsewhere = "set `LVH_DATA_DIR`, or `data-dir` in `lvh.toml`, to a directory";
        check(
            |facts| facts.data_dir.writable = false,
            &format!("Missing data directory: /home/u/.cache/lvh cannot be written | {elsewhere} of yours"),
        );
        check(
            |facts| (facts.data_dir.exists, facts.data_dir.free) = (false, Some(0)),
            &format!(
                "Missing data directory: /home/u/.cache/lvh has no free space | free some, or {elsewhere} with more"
            ),
        );
    }

    #[test]
    fn things_that_only_help() {
        let old = |facts: &mut Facts| {
            facts.qemu.as_mut().unwrap().version = Some((7, 2));
            facts.kvm_trial = Kvm::Untried;
        };
        check(
            old,
            "Degraded QEMU: /usr/bin/qemu-system-x86_64 (version 7.2) | install QEMU 8.1 or newer (Debian 13, Ubuntu \
             24.04 and Fedora 39 have one)",
        );
        check(
            |facts| facts.data_dir.free = Some(0),
            "Degraded data directory: /home/u/.cache/lvh (0.0 GiB free) | free some space, or set `LVH_DATA_DIR`, or \
             `data-dir` in `lvh.toml`, to a directory with more",
        );
        check(
            |facts| facts.vhost_vsock = Device::Absent,
            "Optional /dev/vhost-vsock: does not exist | sudo modprobe vhost_vsock",
        );
        check(
            |facts| facts.dpkg_deb = None,
            "Degraded apt-get, dpkg-deb: `dpkg-deb` was not found | sudo apt install apt dpkg",
        );
        check(
            |facts| facts.mirror = None,
            "Degraded Debian archive: neither LVH_DEBIAN_MIRROR nor this machine's apt configuration names one | \
             export LVH_DEBIAN_MIRROR=URL, the base URL of a Debian archive that you trust (it ends in /debian)",
        );
        check(
            |facts| facts.keyring = None,
            "Degraded Debian keyring: not found in /usr/share/keyrings | sudo apt install debian-archive-keyring",
        );
        check(
            |facts| (facts.depmod, facts.modprobe) = (None, None),
            "Degraded depmod, modprobe: `depmod` and `modprobe` were not found | sudo apt install kmod",
        );
    }

    #[test]
    fn limits_of_control_groups() {
        let limit = |value, name: &str| Some(Limit { value, file: name.into() });
        let wide =
            Limits { memory: limit(2 << 30, "/m"), tasks: limit(99, "/p"), cpu: limit(150, "/c"), ..Limits::default() };
        let found = judge(&Facts { limits: wide, ..healthy() });
        let found: Vec<_> = found.iter().filter(|check| check.name.ends_with(" limit")).collect();
        assert!(found.iter().all(|check| check.state == State::Ok), "{found:?}");
        let texts: Vec<_> = found.iter().map(|check| check.found.as_str()).collect();
        assert_eq!(texts, ["2048 MiB (`/m`)", "99 (`/p`)", "1.50 processors (`/c`)"]);
        check(
            |facts| facts.limits.memory = limit(512 << 20, "/m"),
            "Missing memory limit: 512 MiB (`/m`) | set `memory = \"320M\"` in [vm] of lvh.toml, or `memory` of the test or \
             --memory, or raise the limit",
        );
        check(
            |facts| facts.limits.tasks = limit(7, "/p"),
            "Degraded process limit: 7 (`/p`) | raise it to 24 or more for each VM",
        );
    }

    #[test]
    fn an_old_qemu_is_good_enough_for_kvm() {
        let mut facts = healthy();
        facts.qemu.as_mut().unwrap().version = Some((7, 2));
        assert_eq!(judge(&facts)[0].state, State::Ok);
        facts.accel = Accel::Tcg;
        assert_eq!(judge(&facts)[0].state, State::Degraded);
    }

    #[test]
    fn each_lack_of_kvm_has_its_own_fix() {
        let denied =
            |group: Option<&'static str>| move |facts: &mut Facts| facts.kvm = Device::Denied(group.map(str::to_owned));
        check(
            denied(Some("kvm")),
            "Degraded /dev/kvm: permission denied | sudo usermod -aG kvm \"$USER\", then log in again; or, until the \
             machine boots again: sudo chmod a+rw /dev/kvm",
        );
        let chmod = "sudo chmod a+rw /dev/kvm (until the machine boots again)";
        check(denied(None), &format!("Degraded /dev/kvm: permission denied | {chmod}"));
        let absent = |virtualisation, container, fix: &str| {
            let break_it = |facts: &mut Facts| {
                (facts.kvm, facts.virtualisation, facts.container) = (Device::Absent, virtualisation, container);
            };
            check(break_it, &format!("Degraded /dev/kvm: does not exist | {fix}"));
        };
        absent(Virtualisation::Intel, false, "sudo modprobe kvm_intel");
        absent(Virtualisation::Amd, false, "sudo modprobe kvm_amd");
        absent(Virtualisation::Amd, true, "start the container with `--device /dev/kvm`, on a host that has it");
        let firmware = "switch virtualisation on in the firmware; in a VM, switch on nested virtualisation in the \
                        hypervisor above";
        absent(Virtualisation::Hidden, false, firmware);
    }

    #[test]
    fn what_is_demanded_decides_whether_kvm_is_mandatory() {
        let kvm = |accel, trial| {
            let checks = judge(&Facts { accel, kvm_trial: trial, ..healthy() });
            checks.into_iter().find(|check| check.name == "/dev/kvm").unwrap()
        };
        let fails = || Kvm::Fails("KVM does not work on this machine (internal error)".into());
        let auto = kvm(Accel::Auto, fails());
        let found = "opens, but KVM does not work on this machine (internal error)";
        assert_eq!((auto.state, auto.found.as_str()), (State::Degraded, found));
        assert_eq!(kvm(Accel::Kvm, fails()).state, State::Missing);
        assert_eq!(kvm(Accel::Tcg, fails()).state, State::Optional);
        assert_eq!(kvm(Accel::Kvm, Kvm::Boots).state, State::Ok);
    }
}
