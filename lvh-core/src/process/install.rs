//! The command that installs a thing, by family of distributions.

use std::fs;
use std::path::Path;

use crate::Arch;

/// Distributions that share a package manager and package names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Debian, Ubuntu and their children.
    Debian,
    /// Fedora.
    Fedora,
    /// Arch Linux and its children.
    Arch,
    /// Alpine.
    Alpine,
    /// openSUSE and SLES.
    Suse,
    /// Any other.
    Unknown,
}

impl Family {
    /// That of the machine below `root`, as os-release(5) tells it.
    pub(crate) fn of_machine(root: &Path) -> Self {
        let os_release = fs::read_to_string(root.join("etc/os-release"))
            .or_else(|_| fs::read_to_string(root.join("usr/lib/os-release")));
        Self::of(&os_release.unwrap_or_default())
    }

    /// Reads the content of `/etc/os-release`: `ID` first, then the words of `ID_LIKE` (os-release(5)).
    pub fn of(os_release: &str) -> Self {
        let id = field(os_release, "ID");
        let like = field(os_release, "ID_LIKE");
        let words: Vec<&str> = id.iter().copied().chain(like.iter().flat_map(|like| like.split(' '))).collect();
        // RHEL's children call themselves like Fedora, but ship QEMU as `qemu-kvm` outside of PATH.
        if words.iter().any(|word| ["rhel", "centos"].contains(word)) {
            return Self::Unknown;
        }
        words.into_iter().find_map(Self::by_id).unwrap_or(Self::Unknown)
    }

    fn by_id(id: &str) -> Option<Self> {
        match id {
            "debian" | "ubuntu" => Some(Self::Debian),
            "fedora" => Some(Self::Fedora),
            "arch" | "archarm" => Some(Self::Arch),
            "alpine" => Some(Self::Alpine),
            id if id == "suse" || id == "sles" || id.starts_with("opensuse") => Some(Self::Suse),
            _ => None,
        }
    }

    /// The command that installs packages.
    fn command(self) -> &'static str {
        match self {
            Self::Debian => "sudo apt install",
            Self::Fedora => "sudo dnf install",
            Self::Arch => "sudo pacman -S",
            Self::Alpine => "doas apk add",
            Self::Suse => "sudo zypper install",
            Self::Unknown => "",
        }
    }
}

/// The value of `key`, without its quotes.
fn field<'t>(os_release: &'t str, key: &str) -> Option<&'t str> {
    let value = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim().trim_matches(['"', '\'']))
}

/// What can be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thing {
    Qemu,
    DebTools,
    Keyring,
    Kmod,
}

/// The command that installs QEMU on this machine.
pub(crate) fn install_qemu() -> String {
    install(Family::of_machine(Path::new("/")), Thing::Qemu, Arch::HOST)
}

/// How to install `thing` on a machine of `family` and `arch`.
pub(crate) fn install(family: Family, thing: Thing, arch: Arch) -> String {
    match (family, packages(family, thing, arch)) {
        (Family::Unknown, _) => format!("install {} with your distribution's package manager", describe(thing)),
        (_, Some(packages)) => format!("{} {packages}", family.command()),
        (_, None) => format!("your distribution has no package of {}: use kernels by `path`", describe(thing)),
    }
}

fn packages(family: Family, thing: Thing, arch: Arch) -> Option<&'static str> {
    let arm = arch == Arch::Aarch64;
    match (family, thing) {
        (Family::Unknown, _) => None,
        (_, Thing::Kmod) => Some("kmod"),
        (Family::Debian, Thing::Qemu) => Some(if arm { "qemu-system-arm" } else { "qemu-system-x86" }),
        (Family::Fedora, Thing::Qemu) => Some(if arm { "qemu-system-aarch64-core" } else { "qemu-system-x86-core" }),
        (Family::Arch, Thing::Qemu) => Some(if arm { "qemu-system-aarch64" } else { "qemu-base" }),
        (Family::Alpine, Thing::Qemu) => Some(if arm { "qemu-system-aarch64" } else { "qemu-system-x86_64" }),
        (Family::Suse, Thing::Qemu) => Some(if arm { "qemu-arm" } else { "qemu-x86" }),
        (Family::Debian | Family::Fedora | Family::Arch, Thing::DebTools) => Some("apt dpkg"),
        (Family::Fedora, Thing::Keyring) => Some("debian-keyring"),
        (Family::Debian | Family::Arch | Family::Alpine, Thing::Keyring) => Some("debian-archive-keyring"),
        (Family::Alpine | Family::Suse, Thing::DebTools) | (Family::Suse, Thing::Keyring) => None,
    }
}

fn describe(thing: Thing) -> &'static str {
    match thing {
        Thing::Qemu => "QEMU",
        Thing::DebTools => "`apt-get` and `dpkg-deb`",
        Thing::Keyring => "Debian's archive keyring",
        Thing::Kmod => "kmod",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_tells_the_family() {
        let check = |text: &str, expected: Family| assert_eq!(Family::of(text), expected, "{text}");
        check("NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n", Family::Debian);
        check("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", Family::Debian);
        check("ID=fedora\n", Family::Fedora);
        check("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", Family::Unknown);
        check("ID=endeavouros\nID_LIKE='arch'\n", Family::Arch);
        check("ID=alpine", Family::Alpine);
        check("ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"", Family::Suse);
        check("ID=nixos", Family::Unknown);
        check("", Family::Unknown);
    }

    #[test]
    fn each_family_has_its_command() {
        let check = |family, thing, arch, expected: &str| assert_eq!(install(family, thing, arch), expected);
        check(Family::Debian, Thing::Qemu, Arch::X86_64, "sudo apt install qemu-system-x86");
        check(Family::Fedora, Thing::Qemu, Arch::Aarch64, "sudo dnf install qemu-system-aarch64-core");
        check(Family::Arch, Thing::DebTools, Arch::X86_64, "sudo pacman -S apt dpkg");
        check(Family::Alpine, Thing::Kmod, Arch::X86_64, "doas apk add kmod");
        check(Family::Suse, Thing::Qemu, Arch::X86_64, "sudo zypper install qemu-x86");
        let none = "your distribution has no package of `apt-get` and `dpkg-deb`: use kernels by `path`";
        check(Family::Suse, Thing::DebTools, Arch::X86_64, none);
        check(Family::Unknown, Thing::Kmod, Arch::X86_64, "install kmod with your distribution's package manager");
    }
}
