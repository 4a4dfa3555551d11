//! The keys of `lvh.toml` and what becomes of each: a key is a field, in the order in which errors name them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

use super::document::{Document, Table};
use super::image_table;
use super::kernel_table::{self, faulty_image};
use super::raw::{Cpus, List, ModuleName, Switch, Text, Time, Word};
use crate::Result;
use crate::config::value::{Accel, EnvPattern, KernelEventKind, Memory};
use crate::config::{Config, KERNEL_REPOSITORY, VmDefaults};
use crate::kernel::KernelSource;

/// The top of the file; its tables are read one by one.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Top {
    data_dir: Option<Text>,
    default_kernels: Option<List<Spanned<Text>>>,
    kernel_repo: Option<Text>,
    cache: Option<Text>,
    #[serde(rename = "vm")]
    _vm: Option<IgnoredAny>,
    #[serde(rename = "kernels")]
    _kernels: Option<IgnoredAny>,
    #[serde(rename = "images")]
    _images: Option<IgnoredAny>,
}

/// `[vm]`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Vm {
    cpus: Option<Cpus>,
    memory: Option<Word<Memory>>,
    accel: Option<Word<Accel>>,
    boot_timeout: Option<Word<Time>>,
    test_timeout: Option<Word<Time>>,
    env: Option<List<Word<EnvPattern>>>,
    kernel_args: Option<Text>,
    modules: Option<List<Word<ModuleName>>>,
    fail_on: Option<List<Word<KernelEventKind>>>,
    warm_start: Option<Switch>,
    network: Option<Switch>,
    headers: Option<Switch>,
}

/// Reads the whole file; kernels and images of the file `above` it are known too, where it has none of that name.
pub(in crate::config) fn read(path: &Path, document: Document<'_>, above: Option<Config>) -> Result<Config> {
    let table = document.parse()?;
    let top: Top = table.read()?;
    let base_dir = base_dir(path);
    let (mut known_kernels, mut known_images) = above.map(|above| (above.kernels, above.images)).unwrap_or_default();
    known_kernels.extend(kernels(&table, &base_dir)?);
    known_images.extend(image_table::read_all(&table, &base_dir)?);
    let defaults = Config::default();
    let mut config = Config {
        kernel_repo: kernel_repo(top.kernel_repo, &table)?.unwrap_or_else(|| defaults.kernel_repo.clone()),
        cache: cache(top.cache, &table)?,
        file: Some(path.to_owned()),
        data_dir: top.data_dir.map(|dir| base_dir.join(dir.0)),
        vm: table.table("vm")?.map(|table| table.read::<Vm>()).transpose()?.map(Into::into).unwrap_or_default(),
        kernels: known_kernels,
        images: known_images,
        base_dir,
        ..defaults
    };
    if let Some(names) = top.default_kernels {
        default_kernels(&names.0, &table, &mut config)?;
    }
    Ok(config)
}

/// The repository of published kernels, without a tag: the names of kernels are tags.
fn kernel_repo(repo: Option<Text>, table: &Table<'_>) -> Result<Option<String>> {
    let Some(Text(repo)) = repo else { return Ok(None) };
    match faulty_repository(&repo) {
        false => Ok(Some(repo)),
        true => Err(table.error_at_key(
            "kernel-repo",
            format!("`kernel-repo` is `{repo}` (expected a repository, without a tag, such as `{KERNEL_REPOSITORY}`)"),
        )),
    }
}

/// The repository in which kernels are looked for before they are built.
fn cache(cache: Option<Text>, table: &Table<'_>) -> Result<Option<String>> {
    let Some(Text(cache)) = cache else { return Ok(None) };
    // Without a registry's name, a typing error would ask Docker's.
    let repository = cache.strip_prefix("oci://").filter(|rest| rest.contains('/') && !faulty_repository(rest));
    repository.map(|repository| Some(repository.to_owned())).ok_or_else(|| {
        let expected = "a registry and a repository, without a tag, such as `oci://registry.example.org/team/lvh`";
        table.error_at_key("cache", format!("`cache` is `{cache}` (expected {expected})"))
    })
}

/// Whether `repo` cannot be the name of a repository, or has a tag.
fn faulty_repository(repo: &str) -> bool {
    repo.rsplit('/').next().is_some_and(|last| last.contains([':', '@'])) || faulty_image(repo)
}

/// The directory of the file; `Path::parent` of a bare file name is empty.
fn base_dir(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

impl From<Vm> for VmDefaults {
    fn from(vm: Vm) -> Self {
        let defaults = Self::default();
        Self {
            cpus: vm.cpus.map(|cpus| cpus.0),
            memory: vm.memory.map(|memory| memory.0),
            accel: vm.accel.map_or(defaults.accel, |accel| accel.0),
            boot_timeout: vm.boot_timeout.map(|time| time.0.0),
            test_timeout: vm.test_timeout.map(|time| time.0.0),
            env: List::values(vm.env, |pattern| pattern.0),
            kernel_args: vm.kernel_args.map(|args| args.0).unwrap_or_default(),
            modules: List::values(vm.modules, |name| name.0.0),
            fail_on: match vm.fail_on {
                None => defaults.fail_on,
                kinds => List::values(kinds, |kind| kind.0),
            },
            warm_start: vm.warm_start.map_or(defaults.warm_start, |on| on.0),
            network: vm.network.map_or(defaults.network, |on| on.0),
            headers: vm.headers.map_or(defaults.headers, |on| on.0),
        }
    }
}

fn kernels(top: &Table<'_>, base_dir: &Path) -> Result<BTreeMap<String, KernelSource>> {
    let Some(tables) = top.table("kernels")? else { return Ok(BTreeMap::new()) };
    let read = |(name, table): (String, Table<'_>)| Ok((name.clone(), kernel_table::read(&name, &table, base_dir)?));
    tables.tables()?.into_iter().map(read).collect()
}

/// Takes `default-kernels`; whether they are known is asked when all is that decides on it.
fn default_kernels(names: &[Spanned<Text>], table: &Table<'_>, config: &mut Config) -> Result<()> {
    if names.is_empty() {
        let message = "`default-kernels` is empty (expected at least one kernel)";
        return Err(table.error_at_key("default-kernels", message));
    }
    config.default_kernels = names.iter().map(|name| name.get_ref().0.clone()).collect();
    config.default_kernel_places = names.iter().map(|name| table.document().place(name)).collect();
    Ok(())
}
