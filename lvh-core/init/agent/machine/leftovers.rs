//! What outlives a command in spite of its cgroup.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process;

use super::calls::{self, BpfKind};
use super::facts::{Facts, first_words};
use crate::pid1::reaper;

/// Block devices that somebody sets up; others come with their module.
const SET_UP: [&str; 5] = ["dm-", "loop", "md", "nbd", "zram"];

/// Our children that are no commands: whatever loses its parent becomes one, in whatever cgroup it is.
pub fn processes() -> Facts {
    if !calls::has_children() {
        return Facts::new();
    }
    let us = process::id().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter_map(|id| {
        let stat = calls::read(&format!("/proc/{id}/stat"))?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let is_ours = rest.split_whitespace().nth(1) == Some(&us) && !reaper::is_watched(id);
        is_ours.then(|| (name.to_owned(), String::new()))
    })
    .collect()
}

/// Those at the top; ours come and go with commands.
pub fn cgroups() -> Facts {
    const TOP: &str = "/sys/fs/cgroup";
    // Kernfs counts what is below as others do: no more than itself and `.`.
    if fs::metadata(TOP).is_ok_and(|top| top.nlink() == 2) {
        return Facts::new();
    }
    let dirs = fs::read_dir(TOP).into_iter().flatten().flatten();
    let dirs = dirs.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let names = dirs.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| !name.starts_with("lvh.")).map(|name| (name, String::new())).collect()
}

pub fn bpf() -> Facts {
    let kinds = [(BpfKind::Program, "program"), (BpfKind::Map, "map"), (BpfKind::Link, "link")];
    let of_kind = |(kind, word)| {
        calls::bpf_objects(kind)
            .map(move |id| format!("{word} {id} {}", calls::bpf_name(kind, id)).trim_end().to_owned())
    };
    kinds.into_iter().flat_map(of_kind).map(|name| (name, String::new())).collect()
}

/// Only those that hold something are in the list.
pub fn disks() -> Facts {
    let text = calls::read("/proc/partitions").unwrap_or_default();
    let names = text.lines().skip(2).filter_map(|line| line.split_whitespace().last());
    let names = names.filter(|name| SET_UP.iter().any(|kind| name.starts_with(kind)));
    names.map(|name| (name.to_owned(), String::new())).collect()
}

pub fn swaps() -> Facts {
    first_words("/proc/swaps", 1)
}
