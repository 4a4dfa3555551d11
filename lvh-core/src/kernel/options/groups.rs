//! Named lists of options.
//!
//! The first five are those of the lvh that came before, in their order and with their misspelling (`ISO9669`): files
//! that it wrote hold them.

use super::{KernelOption, Setting, lean};
use crate::{Error, ErrorKind, Result};

/// What a configuration starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Base {
    /// `make defconfig`.
    Defconfig,
    /// Nothing but what the options name and what Kconfig does not let one leave out: `make allnoconfig`.
    Nothing,
}

/// The groups of a new configuration.
pub const DEFAULT_GROUPS: &[&str] = &["basic", "bpf", "virtio", "minimize", "namespaces"];
/// All groups.
pub const GROUP_NAMES: &[&str] = &["basic", "bpf", "virtio", "minimize", "namespaces", "lvh-boot", "lvh-fast"];

/// Words after `+` are built in, those after `-` are off.
const BASIC: &str = "+ LOCALVERSION_AUTO DEBUG_INFO DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT - WERROR";
const BPF: &str = "+ BPF BPF_SYSCALL NET_CLS_BPF NET_ACT_BPF BPF_JIT BPF_JIT_DEFAULT_ON BPF_EVENTS BPF_STREAM_PARSER
    DEBUG_INFO_BTF DEBUG_INFO_BTF_MODULES BPF_LSM CGROUP_BPF FTRACE_SYSCALLS SKB_EXTENSIONS NET_TC_SKB_EXT";
const VIRTIO: &str = "+ VIRTIO VIRTIO_MENU VIRTIO_PCI_LIB VIRTIO_PCI VIRTIO_NET NET_9P 9P_FS NET_9P_VIRTIO VIRTIO_BLK";
const MINIMIZE: &str =
    "- DRM GPU ISO9669_FS CFG80211 WIRELESS RFKILL MACINTOSH_DRIVERS SOUND AGP USB_SUPPORT USB WLAN HID
    I2C PCMCIA MD DMADEVICES THERMAL";
const NAMESPACES: &str = "+ NAMESPACES UTS_NS TIME_NS IPC_NS USER_NS PID_NS NET_NS";

/// The options of the group called `name`.
///
/// # Errors
/// When there is no such group; the message names those there are.
pub fn group(name: &str) -> Result<Vec<KernelOption>> {
    let lists: &[&str] = match name {
        "basic" => &[BASIC],
        "bpf" => &[BPF],
        "virtio" => &[VIRTIO],
        "minimize" => &[MINIMIZE],
        "namespaces" => &[NAMESPACES],
        "lvh-boot" => &[lean::BOOT],
        "lvh-fast" => &[lean::BOOT, lean::FAST],
        _ => return Err(unknown(name)),
    };
    Ok(lists.iter().flat_map(|list| read(list)).collect())
}

/// The options of the group called `name` as entries of a configuration file.
///
/// # Errors
/// As [`group`], and where the group starts from nothing, which such a file has no words for.
pub fn group_entries(name: &str) -> Result<Vec<Vec<String>>> {
    let options = group(name)?;
    if Base::of_groups(&[name]) == Base::Nothing {
        let message =
            format!("the group `{name}` starts from an empty configuration, and `kernels.json` cannot say so");
        return Err(Error::new(ErrorKind::Usage, message).with_hint(format!(
            "write it to `lvh.toml`: a table [kernels.NAME] with git = \"…\" and groups = [\"{name}\"]"
        )));
    }
    let word = |option: &KernelOption| if option.setting == Setting::No { "--disable" } else { "--enable" };
    let entry = |option: KernelOption| vec![word(&option).to_owned(), format!("CONFIG_{}", option.symbol)];
    Ok(options.into_iter().map(entry).collect())
}

impl Base {
    /// What a kernel with `groups` starts from.
    pub fn of_groups<S: AsRef<str>>(groups: &[S]) -> Self {
        let ours = groups.iter().any(|group| group.as_ref().starts_with("lvh-"));
        if ours { Self::Nothing } else { Self::Defconfig }
    }
}

/// Reads a list; after `?` come options that not every kernel has. `SYMBOL=VALUE` is what it says.
fn read(list: &str) -> Vec<KernelOption> {
    let (mut setting, mut optional, mut options) = (Setting::Yes, false, Vec::new());
    for word in list.split_whitespace() {
        match word {
            "+" => (setting, optional) = (Setting::Yes, false),
            "-" => (setting, optional) = (Setting::No, false),
            "?" => (setting, optional) = (Setting::Yes, true),
            word => {
                let (symbol, setting) = word.split_once('=').map_or_else(
                    || (word, setting.clone()),
                    |(symbol, value)| (symbol, Setting::Value(value.to_owned())),
                );
                options.push(KernelOption { symbol: symbol.to_owned(), setting, optional });
            }
        }
    }
    options
}

fn unknown(name: &str) -> Error {
    let message = format!("there is no group `{name}` of kernel options (known: {})", GROUP_NAMES.join(", "));
    Error::new(ErrorKind::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_groups_are_what_they_were() {
        let check = |name: &str, count: usize, first: &[&str], last: &[&str]| {
            let entries = group_entries(name).unwrap();
            assert_eq!(entries.len(), count, "{name}");
            assert_eq!((entries[0].as_slice(), entries[count - 1].as_slice()), (&own(first)[..], &own(last)[..]));
        };
        check("basic", 4, &["--enable", "CONFIG_LOCALVERSION_AUTO"], &["--disable", "CONFIG_WERROR"]);
        check("bpf", 15, &["--enable", "CONFIG_BPF"], &["--enable", "CONFIG_NET_TC_SKB_EXT"]);
        check("virtio", 9, &["--enable", "CONFIG_VIRTIO"], &["--enable", "CONFIG_VIRTIO_BLK"]);
        check("minimize", 18, &["--disable", "CONFIG_DRM"], &["--disable", "CONFIG_THERMAL"]);
        assert!(group_entries("lvh-fast").is_err());
        check("namespaces", 7, &["--enable", "CONFIG_NAMESPACES"], &["--enable", "CONFIG_NET_NS"]);
    }

    fn own(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_name_is_a_group_and_sets_nothing_twice() {
        for name in GROUP_NAMES {
            let options = group(name).unwrap();
            let mut symbols: Vec<_> = options.iter().map(|option| &option.symbol).collect();
            symbols.sort();
            let twice: Vec<_> = symbols.windows(2).filter(|pair| pair[0] == pair[1]).collect();
            assert!(twice.is_empty(), "{name}: {twice:?}");
        }
    }

    #[test]
    fn a_list_may_hold_values() {
        let lines: Vec<_> = read("+ NET COUNT=0 ? BPF").iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["CONFIG_NET=y", "CONFIG_COUNT=0", "CONFIG_BPF=y"]);
    }

    /// What the guide promises of it.
    #[test]
    fn lvh_fast_has_what_is_promised() {
        let options: Vec<_> = group("lvh-fast").unwrap().iter().map(ToString::to_string).collect();
        let promised =
            "PVH VIRTIO_VSOCKETS VIRTIO_FS 9P_FS NET_9P_VIRTIO VIRTIO_PCI VIRTIO_BLK VIRTIO_NET VIRTIO_CONSOLE
            OVERLAY_FS EXT4_FS BPF_SYSCALL BPF_JIT DEBUG_INFO_BTF BPF_LSM KPROBES FTRACE FUNCTION_TRACER VETH NET_NS
            CGROUPS MEMCG CGROUP_BPF";
        for symbol in promised.split_whitespace() {
            assert!(options.contains(&format!("CONFIG_{symbol}=y")), "{symbol}");
        }
    }

    #[test]
    fn an_unknown_group_names_the_known() {
        let error = group("bfp").unwrap_err().to_string();
        assert!(error.starts_with("there is no group `bfp` of kernel options (known: basic, bpf, "), "{error}");
    }

    #[test]
    fn our_own_groups_start_from_nothing() {
        assert_eq!(Base::of_groups(&["basic", "bpf"]), Base::Defconfig);
        assert_eq!(Base::of_groups(&["lvh-fast", "bpf"]), Base::Nothing);
        assert_eq!(Base::of_groups::<&str>(&[]), Base::Defconfig);
    }
}
