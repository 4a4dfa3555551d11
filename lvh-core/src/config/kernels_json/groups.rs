//! Named lists of options: those of the Go tool, in its order and with its misspelling (`ISO9669`).

use crate::{Error, ErrorKind, Result};

/// The groups of a new file.
pub const DEFAULT_GROUPS: &[&str] = &["basic", "bpf", "virtio", "minimize", "namespaces"];

/// All groups.
pub const GROUP_NAMES: &[&str] = DEFAULT_GROUPS;

/// Words after `+` are built in, those after `-` are off.
const LISTS: &[(&str, &str)] = &[
    ("basic", "+ LOCALVERSION_AUTO DEBUG_INFO DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT - WERROR"),
    (
        "bpf",
        "+ BPF BPF_SYSCALL NET_CLS_BPF NET_ACT_BPF BPF_JIT BPF_JIT_DEFAULT_ON BPF_EVENTS BPF_STREAM_PARSER DEBUG_INFO_BTF \
         DEBUG_INFO_BTF_MODULES BPF_LSM CGROUP_BPF FTRACE_SYSCALLS SKB_EXTENSIONS NET_TC_SKB_EXT",
    ),
    ("virtio", "+ VIRTIO VIRTIO_MENU VIRTIO_PCI_LIB VIRTIO_PCI VIRTIO_NET NET_9P 9P_FS NET_9P_VIRTIO VIRTIO_BLK"),
    (
        "minimize",
        "- DRM GPU ISO9669_FS CFG80211 WIRELESS RFKILL MACINTOSH_DRIVERS SOUND AGP USB_SUPPORT USB WLAN HID I2C PCMCIA MD \
         DMADEVICES THERMAL",
    ),
    ("namespaces", "+ NAMESPACES UTS_NS TIME_NS IPC_NS USER_NS PID_NS NET_NS"),
];

/// The options of the group called `name`.
///
/// # Errors
///
/// Where there is no such group; the message names those there are.
pub fn group_entries(name: &str) -> Result<Vec<Vec<String>>> {
    let (_, list) = LISTS.iter().find(|(group, _)| *group == name).ok_or_else(|| {
        let message = format!("unknown group {name} of kernel options (known: {})", GROUP_NAMES.join(", "));
        Error::new(ErrorKind::Usage, message)
    })?;
    let mut command = "";
    let mut options = Vec::new();
    for word in list.split_whitespace() {
        match word {
            "+" => command = "--enable",
            "-" => command = "--disable",
            symbol => options.push(vec![command.to_owned(), format!("CONFIG_{symbol}")]),
        }
    }
    Ok(options)
}
