use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::kernel::image::compression::Compression;
use crate::kernel::image::elf::Elf;
use crate::{Error, ErrorKind, Result};

/// A kernel's module tree: what is `/lib/modules/RELEASE` for it.
///
/// It is read as it lies, with or without depmod's files: Debian's packages come without them.
#[derive(Debug)]
pub struct ModuleTree {
    dir: PathBuf,
    built_in: HashSet<String>,
    /// Files by module name, relative to `dir`.
    files: HashMap<String, PathBuf>,
}

/// How a kernel offers a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// It is part of the kernel.
    BuiltIn,
    /// It is a file that can be loaded.
    Module,
    /// The kernel does not have it.
    Absent,
}

/// A module, ready for `init_module(2)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadableModule {
    /// Its name, with `_` for `-`.
    pub name: String,
    /// The uncompressed file.
    pub data: Vec<u8>,
}

impl ModuleTree {
    /// Reads what there is in `dir`.
    ///
    /// # Errors
    /// When `dir` is not a readable directory.
    pub fn open(dir: &Path) -> Result<Self> {
        let mut tree = Self { dir: dir.to_owned(), built_in: HashSet::new(), files: HashMap::new() };
        fs::read_dir(dir).map_err(|e| Error::path("read the modules in", dir, e))?;
        tree.built_in = tree.lines("modules.builtin").iter().map(|line| name_of(Path::new(line))).collect();
        let known = tree.lines("modules.dep");
        if known.is_empty() {
            walk(dir, &dir.join("kernel"), &mut tree.files)?;
        } else {
            let files = known.iter().filter_map(|line| line.split_once(':'));
            tree.files = files.map(|(file, _)| (name_of(Path::new(file)), PathBuf::from(file))).collect();
        }
        Ok(tree)
    }

    /// How the kernel offers the module `name`; `-` and `_` are the same.
    pub fn availability(&self, name: &str) -> Availability {
        let name = normal(name);
        if self.built_in.contains(&name) {
            Availability::BuiltIn
        } else if self.files.contains_key(&name) {
            Availability::Module
        } else {
            Availability::Absent
        }
    }

    /// The modules that must be loaded, in this order, to have all of `wanted`.
    ///
    /// Names that are built in or absent add nothing: [`ModuleTree::availability`] tells them apart. Soft
    /// dependencies are followed where they can be, also by alias: ext4 asks for `crypto-crc32c` and does not mount
    /// without it, and there is no modprobe in an initramfs.
    ///
    /// # Errors
    /// When a module that another one needs is absent, or a file cannot be read.
    pub fn closure(&self, wanted: &[&str]) -> Result<Vec<LoadableModule>> {
        let mut closure = Closure { tree: self, seen: HashSet::new(), aliases: None, modules: Vec::new() };
        for name in wanted {
            closure.add(&normal(name))?;
        }
        Ok(closure.modules)
    }

    /// Depmod's list of device nodes that are to be there before their modules, `modules.devname`. Empty without depmod: then
    /// there is no modprobe either, which loads them.
    pub(crate) fn static_devices(&self) -> Vec<u8> {
        fs::read(self.dir.join("modules.devname")).unwrap_or_default()
    }

    fn read(&self, file: &Path) -> Result<Vec<u8>> {
        let path = self.dir.join(file);
        let bytes = fs::read(&path).map_err(|e| Error::path("read", &path, e))?;
        match Compression::detect(&bytes) {
            Some(format) => format.decompress(&bytes).map_err(|e| Error::path("unpack", &path, e)),
            None => Ok(bytes),
        }
    }

    /// The lines of one of the tree's lists; none where it is missing.
    fn lines(&self, list: &str) -> Vec<String> {
        let text = fs::read(self.dir.join(list)).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }

    /// Alias → modules, for aliases without wildcards.
    fn aliases(&self) -> Result<HashMap<String, Vec<String>>> {
        let mut aliases = self.built_in_aliases();
        let lines = self.lines("modules.alias");
        for line in &lines {
            if let ["alias", alias, module] = line.split(' ').collect::<Vec<_>>()[..] {
                aliases.entry(normal(alias)).or_default().push(normal(module));
            }
        }
        if lines.is_empty() {
            self.scan_aliases(&mut aliases)?;
        }
        Ok(aliases)
    }

    fn built_in_aliases(&self) -> HashMap<String, Vec<String>> {
        let mut aliases = HashMap::<_, Vec<_>>::new();
        let info = fs::read(self.dir.join("modules.builtin.modinfo")).unwrap_or_default();
        for line in info.split(|&byte| byte == 0).filter_map(|line| std::str::from_utf8(line).ok()) {
            if let Some((module, alias)) = line.split_once(".alias=") {
                aliases.entry(normal(alias)).or_default().push(normal(module));
            }
        }
        aliases
    }

    /// Without `modules.alias`: reads the modules that soft dependencies name by alias, which are algorithms.
    fn scan_aliases(&self, aliases: &mut HashMap<String, Vec<String>>) -> Result<()> {
        let algorithms = |file: &Path| {
            let file = file.strip_prefix("kernel").unwrap_or(file);
            let in_arch = file.starts_with("arch") && file.components().any(|part| part.as_os_str() == "crypto");
            in_arch || file.starts_with("crypto") || file.starts_with("lib")
        };
        let mut files: Vec<_> = self.files.iter().filter(|(_, file)| algorithms(file)).collect();
        files.sort();
        for (name, file) in files {
            let data = self.read(file)?;
            for alias in ModInfo::parse(&data).values("alias") {
                aliases.entry(normal(&alias)).or_default().push(name.clone());
            }
        }
        Ok(())
    }
}

/// The depth-first walk of [`ModuleTree::closure`].
struct Closure<'a> {
    tree: &'a ModuleTree,
    seen: HashSet<String>,
    /// Read when the first alias is met: most closures meet none.
    aliases: Option<HashMap<String, Vec<String>>>,
    modules: Vec<LoadableModule>,
}

impl Closure<'_> {
    /// Adds the module `name` behind what it needs. Nothing happens where there is no such file.
    fn add(&mut self, name: &str) -> Result<()> {
        if self.tree.built_in.contains(name) || !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let Some(file) = self.tree.files.get(name) else { return Ok(()) };
        let data = self.tree.read(file)?;
        let info = ModInfo::parse(&data);
        for soft in info.soft_dependencies() {
            self.add_soft(&normal(&soft))?;
        }
        for needed in info.dependencies() {
            if self.tree.availability(&needed) == Availability::Absent {
                return Err(self.missing(name, &needed));
            }
            self.add(&needed)?;
        }
        self.modules.push(LoadableModule { name: name.to_owned(), data });
        Ok(())
    }

    fn add_soft(&mut self, name: &str) -> Result<()> {
        if self.tree.availability(name) != Availability::Absent {
            return self.add(name);
        }
        let aliases = match self.aliases.take() {
            Some(aliases) => aliases,
            None => self.tree.aliases()?,
        };
        let modules = aliases.get(name).cloned().unwrap_or_default();
        self.aliases = Some(aliases);
        modules.iter().try_for_each(|module| self.add(module))
    }

    fn missing(&self, module: &str, needed: &str) -> Error {
        let dir = self.tree.dir.display();
        Error::new(ErrorKind::Artifact, format!("the module `{module}` needs `{needed}`, which is not in `{dir}`"))
            .with_hint("the module tree is incomplete: install or build all of the kernel's modules")
    }
}

/// The `.modinfo` section: `key=value` strings with a NUL behind each.
struct ModInfo(Vec<(String, String)>);

impl ModInfo {
    fn parse(module: &[u8]) -> Self {
        let section = Elf::parse(module).and_then(|elf| elf.section(".modinfo")).unwrap_or_default();
        let strings = section.split(|&byte| byte == 0).map(String::from_utf8_lossy);
        Self(strings.filter_map(|s| s.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))).collect())
    }

    fn values(&self, key: &str) -> impl Iterator<Item = String> {
        self.0.iter().filter(move |(found, _)| found == key).map(|(_, value)| value.clone())
    }

    fn dependencies(&self) -> Vec<String> {
        self.values("depends")
            .flat_map(|list| list.split(',').map(normal).collect::<Vec<_>>())
            .filter(|name| !name.is_empty())
            .collect()
    }

    /// The names behind `pre:` in `softdep=pre: a b post: c`.
    fn soft_dependencies(&self) -> Vec<String> {
        let mut names = Vec::new();
        for list in self.values("softdep") {
            let mut before = false;
            for word in list.split_whitespace() {
                match word {
                    "pre:" => before = true,
                    "post:" => before = false,
                    name if before => names.push(name.to_owned()),
                    _ => {}
                }
            }
        }
        names
    }
}

fn normal(name: &str) -> String {
    name.trim().replace('-', "_")
}

/// `kernel/fs/ext4/ext4.ko.xz` → `ext4`
fn name_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    normal(name.split(".ko").next().unwrap_or_default())
}

fn walk(root: &Path, dir: &Path, files: &mut HashMap<String, PathBuf>) -> Result<()> {
    // A kernel that builds everything in has no `kernel` directory.
    for found in fs::read_dir(dir).into_iter().flatten() {
        let found = found.map_err(|e| Error::path("read", dir, e))?;
        let path = found.path();
        if found.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(root, &path, files)?;
        } else if found.file_name().to_string_lossy().contains(".ko") {
            files.insert(name_of(&path), path.strip_prefix(root).unwrap_or(&path).to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
