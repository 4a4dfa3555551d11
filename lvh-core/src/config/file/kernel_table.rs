//! The `[kernels.NAME]` tables.

use std::path::Path;

use serde::Deserialize;

use super::document::Table;
use super::fields::fields_of;
use super::raw::{List, Sha256, Switch, Text, Word};
use crate::kernel::build::BuildSpec;
use crate::kernel::git::GitUrl;
use crate::kernel::options::{Base, KernelOption, group};
use crate::kernel::{DebSource, FileSource, GitSource, KernelSource, OciSource, TarballPlace, TarballSource};
use crate::{Error, Result};

/// A kernel of a Debian package.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Deb {
    deb: Text,
    suite: Option<Text>,
    mirror: Option<Text>,
    keyring: Option<Text>,
    version: Option<Text>,
    allow_expired: Option<Switch>,
}

/// A kernel that lies on this machine.
#[derive(Deserialize)]
struct Local {
    path: Text,
}

/// A kernel out of an image of a registry, layout or archive.
#[derive(Deserialize)]
struct Oci {
    oci: Text,
}

/// A kernel that is built from git.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Git {
    git: Text,
    branch: Option<Text>,
    groups: Option<List<Text>>,
    options: Option<List<Text>>,
    make_args: Option<List<Text>>,
    strict: Option<Switch>,
}

/// A kernel that is built from an archive.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Tarball {
    tarball: Text,
    sha256: Option<Word<Sha256>>,
    groups: Option<List<Text>>,
    options: Option<List<Text>>,
    make_args: Option<List<Text>>,
    strict: Option<Switch>,
}

/// A kernel file of the web.
#[derive(Deserialize)]
struct File {
    url: Text,
    sha256: Option<Word<Sha256>>,
}

/// Where the kernel of the table `[kernels.NAME]` comes from.
pub(in crate::config) fn read(name: &str, table: &Table<'_>, base_dir: &Path) -> Result<KernelSource> {
    check_name("kernel", name, table)?;
    Ok(match source_key(table)? {
        "deb" => KernelSource::Deb(deb(table, base_dir)?),
        "path" => KernelSource::Path(base_dir.join(table.read::<Local>()?.path.0)),
        "tarball" => KernelSource::Tarball(tarball(table, base_dir)?),
        "url" => KernelSource::File(file(table)?),
        "oci" => KernelSource::Oci(oci(table, base_dir)?),
        _ => KernelSource::Git(git(table, base_dir)?),
    })
}

/// The name's parts are looked at by who talks to registries.
fn oci(table: &Table<'_>, base_dir: &Path) -> Result<OciSource> {
    let image = table.read::<Oci>()?.oci.0;
    let expected = "an image such as `quay.io/lvh-images/kernel-images:6.6-main`";
    match faulty_image(&image) {
        false => Ok(OciSource::new(image).based_at(base_dir)),
        true => Err(table.error_at_key("oci", format!("`oci` in {} is `{image}` (expected {expected})", table.name()))),
    }
}

/// Whether `image` cannot be the name of an image: it is empty, could be taken for a flag, or is more than one word.
pub(in crate::config) fn faulty_image(image: &str) -> bool {
    image.is_empty() || image.starts_with('-') || image.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Names become parts of test names, which hold no spaces, brackets, slashes, colons or plus signs.
pub(in crate::config) fn check_name(what: &str, name: &str, table: &Table<'_>) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match !name.is_empty() && name.chars().all(allowed) {
        true => Ok(()),
        false => Err(table.error(format!("the {what} name `{name}` may hold letters, digits, `.`, `_` and `-` only"))),
    }
}

/// The keys of which each table has one.
const SOURCES: &[&str] = &["deb", "path", "oci", "git", "tarball", "url"];

/// The one key that says where the kernel comes from.
fn source_key(table: &Table<'_>) -> Result<&'static str> {
    let present: Vec<&'static str> = SOURCES.iter().copied().filter(|key| table.has(key)).collect();
    match present.as_slice() {
        [one] => Ok(one),
        [first, second, ..] => Err(table
            .error_at_key(second, format!("{} has both `{first}` and `{second}` (expected one source)", table.name()))),
        [] => Err(no_source(table)),
    }
}

fn no_source(table: &Table<'_>) -> Error {
    let built = [fields_of::<Git>(), fields_of::<Tarball>(), fields_of::<File>()].concat();
    let mut all = [fields_of::<Deb>(), fields_of::<Local>(), fields_of::<Oci>()].concat();
    built.into_iter().for_each(|key| {
        if !all.contains(&key) {
            all.push(key)
        }
    });
    match table.only(&all) {
        // TOML reads [kernels.6.12] as a table `12` in a table `6`.
        Err(error) if table.tables().is_ok() => {
            error.with_hint("a name with a dot needs quotes, as in [kernels.\"6.12\"]")
        }
        Err(error) => error,
        Ok(()) => table.error(format!(
            "{} has no source (expected `deb`, `git`, `tarball`, `url`, `oci` or `path`)",
            table.name()
        )),
    }
}

fn git(table: &Table<'_>, base_dir: &Path) -> Result<GitSource> {
    let git: Git = table.read()?;
    let at = |key| move |error| at_key(table, key, error);
    let mut url = GitUrl::parse(&git.git.0, base_dir).map_err(at("git"))?;
    // Who tests on a kernel does not need its history.
    if !git.git.0.contains("depth=") {
        url.depth = Some(1);
    }
    if let Some(branch) = git.branch {
        url = url.with_reference(&branch.0).map_err(at("branch"))?;
    }
    let build = build_spec(table, git.groups, git.options, git.make_args, git.strict)?;
    Ok(GitSource { url, build, tree: None })
}

fn tarball(table: &Table<'_>, base_dir: &Path) -> Result<TarballSource> {
    let Tarball { tarball, sha256, groups, options, make_args, strict } = table.read()?;
    let place = match tarball.0.contains("://") {
        true => TarballPlace::Url(web_url(table, "tarball", tarball.0)?),
        false => TarballPlace::Path(base_dir.join(tarball.0)),
    };
    let build = build_spec(table, groups, options, make_args, strict)?;
    Ok(TarballSource { place, sha256: sha256.map(|sha256| sha256.0.0), build })
}

fn file(table: &Table<'_>) -> Result<FileSource> {
    let File { url, sha256 } = table.read()?;
    Ok(FileSource { url: web_url(table, "url", url.0)?, sha256: sha256.map(|sha256| sha256.0.0) })
}

/// A URL that `curl` takes as one, and that leads to the web.
fn web_url(table: &Table<'_>, key: &str, url: String) -> Result<String> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    match rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control())) {
        true => Ok(url),
        false => {
            let message = format!("`{key}` in {} is `{url}` (expected an `http` or `https` URL)", table.name());
            Err(table.error_at_key(key, message))
        }
    }
}

fn at_key(table: &Table<'_>, key: &str, error: Error) -> Error {
    let placed = table.error_at_key(key, format!("`{key}` in {}: {error}", table.name()));
    error.hint().into_iter().fold(placed, Error::with_hint)
}

/// What all kernels that are built have in common.
fn build_spec(
    table: &Table<'_>,
    groups: Option<List<Text>>,
    options: Option<List<Text>>,
    make_args: Option<List<Text>>,
    strict: Option<Switch>,
) -> Result<BuildSpec> {
    let at = |key| move |error| at_key(table, key, error);
    let (groups, lines) = (List::values(groups, |group| group.0), List::values(options, |line| line.0));
    let mut options = Vec::new();
    for name in &groups {
        options.extend(group(name).map_err(at("groups"))?);
    }
    for line in &lines {
        options.extend(KernelOption::parse(line).map_err(at("options"))?);
    }
    let make_args = List::values(make_args, |arg| arg.0);
    let strict = strict.is_some_and(|strict| strict.0);
    Ok(BuildSpec { base: Base::of_groups(&groups), options, make_args, strict, ..BuildSpec::default() })
}

fn deb(table: &Table<'_>, base_dir: &Path) -> Result<DebSource> {
    let deb: Deb = table.read()?;
    let no_suite = || table.error(format!("{} has `deb` without `suite` (such as `suite = \"trixie\"`)", table.name()));
    let source = DebSource {
        package: deb.deb.0,
        suite: deb.suite.ok_or_else(no_suite)?.0,
        mirror: deb.mirror.map(|mirror| mirror.0),
        keyring: deb.keyring.map(|path| base_dir.join(path.0)),
        version: deb.version.map(|version| version.0),
        allow_expired: deb.allow_expired.is_some_and(|allowed| allowed.0),
    };
    match faulty_field(&source) {
        None => Ok(source),
        Some((key, value, expected)) => {
            let message = format!("`{key}` in {} is `{value}` (expected {expected})", table.name());
            Err(table.error_at_key(key, message))
        }
    }
}

/// The first field of `source` that cannot be what it should: its key, its value and what was expected.
///
/// The alphabets are those of Debian's policy manual, §5.6.1 and §5.6.12; they keep a name inside its URL and directory.
pub(in crate::config) fn faulty_field(source: &DebSource) -> Option<(&'static str, &str, &'static str)> {
    let version = source.version.as_deref().unwrap_or("0");
    let mirror = source.mirror.as_deref().unwrap_or("file:///");
    if !is_word(&source.package, "+-.") {
        return Some(("deb", &source.package, "a package's name such as `linux-image-amd64`"));
    }
    if !is_word(&source.suite, "-./") || source.suite.split('/').any(|part| part.trim_matches('.').is_empty()) {
        return Some(("suite", &source.suite, "a suite such as `trixie` or `trixie-backports`"));
    }
    if !is_word(version, "+-.~:") {
        return Some(("version", version, "a package's version such as `6.12.41-1`"));
    }
    let is_url = mirror.split_once("://").is_some_and(|(scheme, _)| matches!(scheme, "http" | "https" | "file"));
    (!is_url || mirror.contains(char::is_whitespace)).then_some(("mirror", mirror, "an `http`, `https` or `file` URL"))
}

/// Whether `text` starts with a letter or a digit and holds nothing but those and `marks`.
fn is_word(text: &str, marks: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
}
