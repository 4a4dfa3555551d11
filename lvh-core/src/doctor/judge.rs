//! From facts to verdicts.

use super::install::{Thing, install};
use super::{Check, Device, Facts, State};

/// The first QEMU whose TCG runs a guest that patches its own code on several threads.
const QEMU_TCG_THREADS: (u32, u32) = (8, 1);
/// Below this a kernel or two with their sources may not fit.
const LITTLE_SPACE: u64 = 2 << 30;

/// One check for each thing that lvh needs or can use; the mandatory ones first.
pub fn judge(facts: &Facts) -> Vec<Check> {
    vec![qemu(facts), data_dir(facts), kvm(facts), vhost_vsock(facts), deb_tools(facts), keyring(facts), kmod(facts)]
}

fn qemu(facts: &Facts) -> Check {
    let Some(qemu) = &facts.qemu else {
        let found = format!("`qemu-system-{}` was not found in PATH", facts.arch);
        let fix = install(facts.family, Thing::Qemu, &facts.arch);
        return Check::lack("QEMU", State::Missing, found, "no VM can start", fix);
    };
    let path = qemu.path.display();
    match qemu.version {
        None => Check::lack(
            "QEMU",
            State::Degraded,
            format!("{path} does not tell its version"),
            "it may not start at all",
            format!("see what `{path} --version` says"),
        ),
        Some(version @ (major, minor)) if version < QEMU_TCG_THREADS => Check::lack(
            "QEMU",
            State::Degraded,
            format!("{path} (version {major}.{minor})"),
            "without KVM a guest gets one CPU: TCG before 8.1 corrupts guests that have more",
            "install QEMU 8.1 or newer (Debian 13, Ubuntu 24.04 and Fedora 39 have one)".to_owned(),
        ),
        Some((major, minor)) => Check::ok("QEMU", format!("{path} (version {major}.{minor})")),
    }
}

fn data_dir(facts: &Facts) -> Check {
    let dir = &facts.data_dir;
    let path = dir.path.display();
    let elsewhere = "set `LVH_DATA_DIR`, or `data-dir` in `lvh.toml`, to a directory";
    if !dir.writable {
        let (found, cost) = (format!("{path} cannot be written"), "kernels cannot be kept");
        return Check::lack("data directory", State::Missing, found, cost, format!("{elsewhere} of yours"));
    }
    let Some(free) = dir.free else { return Check::ok("data directory", path.to_string()) };
    let found = format!("{path} ({:.1} GiB free)", free as f64 / f64::from(1 << 30));
    if free < LITTLE_SPACE {
        let (cost, fix) = ("kernels may not fit", format!("free some space, or {elsewhere} with more"));
        return Check::lack("data directory", State::Degraded, found, cost, fix);
    }
    Check::ok("data directory", found)
}

fn kvm(facts: &Facts) -> Check {
    let lack = |found: String, fix: &str| {
        let cost = "VMs run under TCG, about ten times slower";
        Check::lack("/dev/kvm", State::Degraded, found, cost, fix.to_owned())
    };
    let switch_on = "switch virtualisation on in the firmware, or nested virtualisation in the hypervisor above; then \
        `sudo modprobe kvm_intel` or `sudo modprobe kvm_amd`";
    match (&facts.kvm, &facts.kvm_verdict) {
        (Device::Absent, _) => lack("does not exist".to_owned(), switch_on),
        (Device::Denied, _) => {
            lack("permission denied".to_owned(), "sudo usermod -aG kvm \"$USER\", then log in again")
        }
        (Device::Broken(why), _) => lack(format!("does not open: {why}"), switch_on),
        (Device::Opens, Some(why)) => lack(format!("opens, but did not boot a VM: {why}"), switch_on),
        (Device::Opens, None) => Check::ok("/dev/kvm", "opens (whether it boots shows with the first VM)"),
    }
}

fn vhost_vsock(facts: &Facts) -> Check {
    let lack = |found: String, fix: &str| {
        let cost = "host and guest talk through lvh's own vsock device or a serial port instead";
        Check::lack("/dev/vhost-vsock", State::Degraded, found, cost, fix.to_owned())
    };
    let load = "sudo modprobe vhost_vsock";
    match &facts.vhost_vsock {
        Device::Opens => Check::ok("/dev/vhost-vsock", "opens"),
        Device::Absent => lack("does not exist".to_owned(), load),
        Device::Denied => lack("permission denied".to_owned(), "sudo usermod -aG kvm \"$USER\", then log in again"),
        Device::Broken(why) => lack(format!("does not open: {why}"), load),
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
    let fix = install(facts.family, Thing::DebTools, &facts.arch);
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
            install(facts.family, Thing::Keyring, &facts.arch),
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
    let fix = install(facts.family, Thing::Kmod, &facts.arch);
    Check::lack("depmod, modprobe", State::Degraded, not_found(&missing), cost, fix)
}

fn not_found(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "was" } else { "were" };
    format!("{} {verb} not found", names.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::super::{DataDir, Family, Qemu, can_run};
    use super::*;

    /// A Debian machine that has everything.
    fn healthy() -> Facts {
        Facts {
            arch: "x86_64".into(),
            family: Family::Debian,
            qemu: Some(Qemu { path: "/usr/bin/qemu-system-x86_64".into(), version: Some((10, 0)) }),
            kvm: Device::Opens,
            kvm_verdict: None,
            vhost_vsock: Device::Opens,
            apt_get: Some("/usr/bin/apt-get".into()),
            dpkg_deb: Some("/usr/bin/dpkg-deb".into()),
            keyring: Some("/usr/share/keyrings/debian-archive-keyring.gpg".into()),
            depmod: Some("/usr/sbin/depmod".into()),
            modprobe: Some("/usr/sbin/modprobe".into()),
            data_dir: DataDir { path: "/home/u/.cache/lvh".into(), writable: true, free: Some(10 << 30) },
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
        assert_eq!(can_run(&lacks), lack.state == State::Degraded);
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
            |facts| facts.data_dir.writable = false,
            "Missing data directory: /home/u/.cache/lvh cannot be written | set `LVH_DATA_DIR`, or `data-dir` in \
             `lvh.toml`, to a directory of yours",
        );
    }

    #[test]
    fn things_that_only_help() {
        check(
            |facts| facts.qemu.as_mut().unwrap().version = Some((7, 2)),
            "Degraded QEMU: /usr/bin/qemu-system-x86_64 (version 7.2) | install QEMU 8.1 or newer (Debian 13, Ubuntu \
             24.04 and Fedora 39 have one)",
        );
        check(
            |facts| facts.kvm = Device::Denied,
            "Degraded /dev/kvm: permission denied | sudo usermod -aG kvm \"$USER\", then log in again",
        );
        check(
            |facts| facts.vhost_vsock = Device::Absent,
            "Degraded /dev/vhost-vsock: does not exist | sudo modprobe vhost_vsock",
        );
        check(
            |facts| facts.dpkg_deb = None,
            "Degraded apt-get, dpkg-deb: `dpkg-deb` was not found | sudo apt install apt dpkg",
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
    fn kvm_that_opens_but_does_not_boot_is_no_kvm() {
        let mut facts = healthy();
        facts.kvm_verdict = Some("KVM internal error".into());
        let kvm = judge(&facts).into_iter().find(|check| check.name == "/dev/kvm").unwrap();
        assert_eq!(
            (kvm.state, kvm.found.as_str()),
            (State::Degraded, "opens, but did not boot a VM: KVM internal error")
        );
    }
}
