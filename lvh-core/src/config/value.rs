//! The types of single settings, each parsed from its one spelling.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Why a text is not a value of its type: it says what would be. `Display` is ``expected `auto` or `kvm` ``.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected(pub(crate) String);

impl std::error::Error for Expected {}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.0)
    }
}

impl Expected {
    /// Only these would be.
    pub fn one_of(names: &[&str]) -> Self {
        Self(alternatives(names))
    }
}

/// Defines an enum whose variants have one spelling each, with `FromStr`, `Display` and `NAMES`.
macro_rules! keywords {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every spelling, in the order in which they are tried or preferred.
            pub const NAMES: &[&str] = &[$($text),*];

            /// Every value, in the same order.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The spelling of this value.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl FromStr for $name {
            type Err = Expected;

            fn from_str(text: &str) -> Result<Self, Expected> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(Expected::one_of(Self::NAMES)),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

keywords! {
    /// What runs the guest's instructions.
    Accel {
        /// KVM where it really works, else TCG.
        Auto = "auto",
        /// Linux's KVM.
        Kvm = "kvm",
        /// QEMU's translator: works everywhere, about ten times slower.
        Tcg = "tcg",
    }
}

keywords! {
    /// Which program is a guest's first process.
    Init {
        /// lvh's own.
        Lvh = "lvh",
        /// The image's systemd.
        Systemd = "systemd",
    }
}

keywords! {
    /// How host and guest talk.
    Channel {
        /// vsock through the kernel's own device.
        VhostVsock = "vhost-vsock",
        /// vsock through a device served by our process.
        VhostUserVsock = "vhost-user-vsock",
        /// A virtio console port.
        VirtioSerial = "virtio-serial",
        /// A second serial port.
        Serial = "serial",
    }
}

keywords! {
    /// How the guest sees the host's files.
    Share {
        /// virtiofs served by our process.
        Virtiofs = "virtiofs",
        /// QEMU's 9p server.
        NineP = "9p",
        /// Copies in a second initramfs segment.
        Packed = "packed",
    }
}

keywords! {
    /// What the kernel reports when something went wrong.
    KernelEventKind {
        /// `BUG: …`, `Oops: …`, `kernel BUG at …`, a report of a sanitizer.
        Oops = "oops",
        /// `WARNING: …` with a trace.
        Warn = "warn",
        /// A CPU does not get out of the kernel: soft and hard lockups.
        Lockup = "lockup",
        /// A task has waited for minutes and cannot be killed.
        HungTask = "hung-task",
        /// RCU waits for a CPU or a task.
        RcuStall = "rcu-stall",
        /// The kernel killed a process because memory ran out.
        Oom = "oom",
        /// The lock validator found a bug.
        Lockdep = "lockdep",
    }
}

impl KernelEventKind {
    /// For people, with its article.
    pub fn description(self) -> &'static str {
        match self {
            Self::Oops => "an oops",
            Self::Warn => "a warning",
            Self::Lockup => "a lockup",
            Self::HungTask => "a hung task",
            Self::RcuStall => "an RCU stall",
            Self::Oom => "that memory ran out",
            Self::Lockdep => "a locking bug",
        }
    }
}

/// Names in backticks for people: `` `a`, `b` or `c` ``.
pub(in crate::config) fn alternatives(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}

/// Less no kernel boots with, in MiB.
const MIN_MEMORY_MIB: u32 = 64;

/// An amount of guest memory, in whole MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Memory {
    mib: u32,
}

impl Memory {
    /// `mib` mebibytes.
    pub const fn from_mib(mib: u32) -> Self {
        Self { mib }
    }

    /// The amount in MiB.
    pub const fn mib(self) -> u32 {
        self.mib
    }
}

impl FromStr for Memory {
    type Err = Expected;

    /// Reads `512M` or `1G`; the units are binary, as QEMU's are.
    fn from_str(text: &str) -> Result<Self, Expected> {
        let mib = match split_number(text) {
            Some((number, "M")) => Some(number),
            Some((number, "G")) => number.checked_mul(1024),
            _ => None,
        };
        match mib.map(u32::try_from) {
            Some(Ok(mib)) if mib < MIN_MEMORY_MIB => Err(Expected(format!("at least `{MIN_MEMORY_MIB}M`"))),
            Some(Ok(mib)) => Ok(Self::from_mib(mib)),
            _ => Err(Expected("a size such as `512M` or `1G`".to_owned())),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mib {
            mib if mib >= 1024 && mib.is_multiple_of(1024) => write!(f, "{}G", mib / 1024),
            mib => write!(f, "{mib}M"),
        }
    }
}

/// Reads `500ms`, `60s`, `2m` or `1h`; zero is not a duration to wait for.
pub fn parse_duration(text: &str) -> Result<Duration, Expected> {
    let millis = match split_number(text) {
        Some((number, "ms")) => Some(number),
        Some((number, "s")) => number.checked_mul(1000),
        Some((number, "m")) => number.checked_mul(60_000),
        Some((number, "h")) => number.checked_mul(3_600_000),
        _ => None,
    };
    millis
        .filter(|millis| *millis > 0)
        .map(Duration::from_millis)
        .ok_or_else(|| Expected("a duration such as `500ms`, `60s` or `2m`".to_owned()))
}

/// Splits leading digits from the unit.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

/// Which environment variables go into the guest: one name, or a prefix such as `BAR_*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvPattern(String);

impl EnvPattern {
    /// Whether the variable `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        pattern_matches(&self.0, name)
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `pattern` means the variable `name`; a star at its end stands for any rest.
pub(crate) fn pattern_matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |prefix| name.starts_with(prefix))
}

impl FromStr for EnvPattern {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let name = text.strip_suffix('*').unwrap_or(text);
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !text.is_empty();
        match is_name {
            true => Ok(Self(text.to_owned())),
            false => Err(Expected("a variable's name such as `FOO` or a prefix such as `BAR_*`".to_owned())),
        }
    }
}
