//! The keys of `lvh.toml` and what becomes of each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::document::{Document, Table};
use super::entry::{ImageEntry, KernelEntry};
use super::value::{Accel, Expected, KernelEventKind, Memory, parse_duration};
use super::{Config, VmDefaults};
use crate::Result;

const TOP_KEYS: &[&str] = &["data-dir", "default-kernels", "vm", "kernels", "images"];
const VM_KEYS: &[&str] = &[
    "cpus",
    "memory",
    "accel",
    "boot-timeout",
    "test-timeout",
    "env",
    "kernel-args",
    "modules",
    "fail-on",
    "warm-start",
];

/// Reads the whole file.
pub(super) fn read(path: &Path, document: Document<'_>) -> Result<Config> {
    let entries = document.parse()?;
    let top = Table::root(document, &entries);
    top.only(TOP_KEYS)?;
    let base_dir = base_dir(path);
    let mut config = Config {
        file: Some(path.to_owned()),
        data_dir: top.text("data-dir")?.map(|dir| base_dir.join(dir)),
        vm: top.table("vm")?.map(|table| vm(&table)).transpose()?.unwrap_or_default(),
        kernels: kernels(&top, &base_dir)?,
        images: images(&top)?,
        base_dir,
        ..Config::default()
    };
    default_kernels(&top, &mut config)?;
    Ok(config)
}

/// The directory of the file; `Path::parent` of a bare file name is empty.
fn base_dir(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

fn vm(table: &Table<'_>) -> Result<VmDefaults> {
    table.only(VM_KEYS)?;
    let defaults = VmDefaults::default();
    let duration = |key| table.get(key).map(|value| value.parse(parse_duration)).transpose();
    Ok(VmDefaults {
        cpus: table.get("cpus").map(|value| value.integer(1..=255)).transpose()?,
        memory: table.get("memory").map_or(Ok(defaults.memory), |value| value.parse(Memory::from_str))?,
        accel: table.get("accel").map_or(Ok(defaults.accel), |value| value.parse(Accel::from_str))?,
        boot_timeout: duration("boot-timeout")?,
        test_timeout: duration("test-timeout")?,
        env: table.list("env")?,
        kernel_args: table.text("kernel-args")?.unwrap_or_default().to_owned(),
        modules: table.list::<ModuleName>("modules")?.into_iter().map(|module| module.0).collect(),
        warm_start: table.get("warm-start").map_or(Ok(defaults.warm_start), |value| value.boolean())?,
        fail_on: if table.has("fail-on") { table.list::<KernelEventKind>("fail-on")? } else { defaults.fail_on },
    })
}

/// A module's name as `modprobe` takes it: never a path.
struct ModuleName(String);

impl FromStr for ModuleName {
    type Err = Expected;

    fn from_str(text: &str) -> std::result::Result<Self, Expected> {
        let is_name = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        is_name.then(|| Self(text.to_owned())).ok_or_else(|| Expected("a module's name such as `tun`".to_owned()))
    }
}

fn kernels(top: &Table<'_>, base_dir: &Path) -> Result<BTreeMap<String, KernelEntry>> {
    let Some(tables) = top.table("kernels")? else { return Ok(BTreeMap::new()) };
    let entry = |(name, line, table): (&str, usize, Table<'_>)| {
        KernelEntry::read(name, line, &table, base_dir).map(|entry| (name.to_owned(), entry))
    };
    tables.tables()?.into_iter().map(entry).collect()
}

fn images(top: &Table<'_>) -> Result<BTreeMap<String, ImageEntry>> {
    let Some(tables) = top.table("images")? else { return Ok(BTreeMap::new()) };
    let entry = |(name, line, table): (&str, usize, Table<'_>)| {
        ImageEntry::read(name, line, &table).map(|entry| (name.to_owned(), entry))
    };
    tables.tables()?.into_iter().map(entry).collect()
}

/// Takes `default-kernels` once the tables are known that they may name.
fn default_kernels(top: &Table<'_>, config: &mut Config) -> Result<()> {
    let Some(value) = top.get("default-kernels") else { return Ok(()) };
    let mut names = Vec::new();
    for item in value.items()? {
        let name = item.text()?;
        config.check_name(name).map_err(|error| error.at(top.document(), item.line()))?;
        names.push(name.to_owned());
    }
    if names.is_empty() {
        return Err(top.error_at("default-kernels", "`default-kernels` is empty (expected at least one kernel)"));
    }
    config.default_kernels = names;
    Ok(())
}
