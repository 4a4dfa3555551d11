//! This test binary: what cargo and nextest call it, where its sources are, and who runs it.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use lvh_core::{HostContext, Moved};

use crate::case::{CargoTarget, TestCase};

/// The test binary, and what it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TestBinary {
    /// The package, where cargo or nextest runs us.
    pub(crate) package: Option<String>,
    /// The test binary, without the hash that cargo appends.
    pub(crate) binary: String,
    /// What relative source paths start from: the workspace, for the compiler runs there.
    pub(crate) workspace: PathBuf,
    /// What of the package it is.
    pub(crate) target: CargoTarget,
    /// The name of the directory that it lies in: `deps`, or `examples`.
    pub(crate) directory: String,
}

impl TestBinary {
    /// That of this process.
    pub(crate) fn of_process() -> Self {
        let package = env::var("CARGO_PKG_NAME").ok().filter(|name| !name.is_empty());
        let exe = env::current_exe().unwrap_or_default();
        let directory = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let directory = directory.or_else(|| env::current_dir().ok()).unwrap_or_default();
        let case = inventory::iter::<TestCase>().next();
        let workspace = workspace_of(&directory, case.map(|case| Path::new(case.file)));
        let target = case.map_or(CargoTarget::Test, |case| case.target);
        let within = exe.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        let mut binary = binary_name(&exe);
        if target == CargoTarget::Test {
            binary = target_name(&directory, &binary).unwrap_or(binary);
        }
        Self { package, binary, workspace, target, directory: within }
    }

    /// The binary as nextest calls it: `PACKAGE::BINARY`, or the package alone for the tests of its library.
    pub(crate) fn binary_id(&self) -> String {
        self.joined("::")
    }

    /// The same as part of a file's name; several systems take no colon in one.
    pub(crate) fn file_id(&self) -> String {
        self.joined(".")
    }

    /// What makes cargo build and run this binary, and no other; none where cargo did not name the package.
    pub(crate) fn cargo_arguments(&self) -> Option<String> {
        let package = shell_word(self.package.as_ref()?);
        Some(match self.target {
            CargoTarget::Library => format!("-p {package} --lib"),
            CargoTarget::Program(name) if self.directory == "examples" => {
                format!("-p {package} --example {}", shell_word(name))
            }
            CargoTarget::Program(name) => format!("-p {package} --bin {}", shell_word(name)),
            CargoTarget::Test => format!("-p {package} --test {}", shell_word(&self.binary)),
        })
    }

    /// What keeps the files of runs apart: the binary and, under nextest, where each test is a run, the test.
    pub(crate) fn run_id(&self) -> String {
        match env::var("NEXTEST_TEST_NAME") {
            Ok(test) if under_nextest() => format!("{}.{}", self.file_id(), file_word(&test)),
            _ => self.file_id(),
        }
    }

    fn joined(&self, separator: &str) -> String {
        match &self.package {
            Some(package) if package.replace('-', "_") == self.binary => package.clone(),
            Some(package) => format!("{package}{separator}{}", self.binary),
            None => self.binary.clone(),
        }
    }
}

/// The directories of the machine that built this binary which are not on this one.
pub(crate) fn moved(context: &HostContext) -> Vec<Moved> {
    let mut places: Vec<_> = inventory::iter::<TestCase>().map(|case| case.built).collect();
    places.dedup();
    places.iter().flat_map(|place| place.moved(context)).collect()
}

/// Whether nextest runs us: then each test is a process of its own.
pub(crate) fn under_nextest() -> bool {
    env::var_os("NEXTEST").is_some_and(|value| value == "1")
}

/// `name` as a file's or a directory's: no separators, nothing that shells or file systems choke on.
pub(crate) fn file_word(name: &str) -> String {
    let odd = |c: char| !(c.is_alphanumeric() || "._+-".contains(c));
    let word = name.replace("::", ".").replace(odd, "-");
    if word.chars().all(|c| c == '.') { format!("-{word}") } else { word }
}

/// `text` as a shell reads it back.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,=+@%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

fn binary_name(exe: &Path) -> String {
    let stem = exe.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    let is_hash = |text: &str| text.len() == 16 && text.chars().all(|c| c.is_ascii_hexdigit());
    stem.rsplit_once('-').filter(|(_, hash)| is_hash(hash)).map_or(stem.as_ref(), |(name, _)| name).to_owned()
}

/// The name that cargo knows the test target by whose binary is called `binary`: the compiler takes no dash. Cargo finds tests
/// by their files, or reads their names in the manifest.
fn target_name(package: &Path, binary: &str) -> Option<String> {
    let entries = fs::read_dir(package.join("tests")).into_iter().flatten().flatten();
    let of_files = entries.filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()));
    let manifest = fs::read_to_string(package.join("Cargo.toml")).unwrap_or_default();
    let of_manifest = manifest.split(['"', '\'']).skip(1).step_by(2).map(str::to_owned);
    let mut names: Vec<String> = of_files.chain(of_manifest).filter(|name| name.replace('-', "_") == binary).collect();
    let at = names.iter().position(|name| name == binary).unwrap_or(0);
    (!names.is_empty()).then(|| names.swap_remove(at))
}

/// The nearest directory from which `source`, a file of the package, can be reached.
fn workspace_of(package: &Path, source: Option<&Path>) -> PathBuf {
    let reaches = |directory: &&Path| source.is_some_and(|source| directory.join(source).is_file());
    package.ancestors().find(reaches).unwrap_or(package).to_owned()
}

#[cfg(test)]
mod tests {
    use super::{CargoTarget, TestBinary, binary_name, file_word, target_name, workspace_of};
    use std::fs;
    use std::path::Path;

    fn here(package: Option<&str>, binary: &str) -> TestBinary {
        let (package, binary) = (package.map(str::to_owned), binary.to_owned());
        TestBinary { package, binary, workspace: "/".into(), target: CargoTarget::Test, directory: "deps".into() }
    }

    #[track_caller]
    fn check_ids(package: Option<&str>, exe: &str, expected: (&str, &str)) {
        let here = here(package, &binary_name(Path::new(exe)));
        assert_eq!((here.binary_id().as_str(), here.file_id().as_str()), expected);
    }

    #[test]
    fn cargo_is_told_which_binary() {
        let check = |target, directory: &str, expected: &str| {
            let here = TestBinary { target, directory: directory.to_owned(), ..here(Some("my-maps"), "it") };
            assert_eq!(here.cargo_arguments().unwrap(), format!("-p my-maps {expected}"));
        };
        check(CargoTarget::Test, "deps", "--test it");
        check(CargoTarget::Library, "deps", "--lib");
        check(CargoTarget::Program("tool"), "deps", "--bin tool");
        check(CargoTarget::Program("demo"), "examples", "--example demo");
        assert_eq!(here(None, "it").cargo_arguments(), None);
    }

    #[test]
    fn what_cargo_tells_the_compiler() {
        assert_eq!(CargoTarget::of(Some("x"), None), CargoTarget::Program("x"));
        assert_eq!(CargoTarget::of(None, Some("/t/tmp")), CargoTarget::Test);
        assert_eq!(CargoTarget::of(None, None), CargoTarget::Library);
    }

    #[test]
    fn names_make_files() {
        for (name, word) in [("a::b::6.12", "a.b.6.12"), ("../x y", "..-x-y"), ("..", "-.."), ("", "-")] {
            assert_eq!(file_word(name), word);
        }
    }

    #[test]
    fn cargo_knows_a_test_by_its_file_or_its_manifest() {
        let package = tempfile::tempdir().unwrap();
        let check = |binary: &str, expected: Option<&str>| {
            assert_eq!(target_name(package.path(), binary).as_deref(), expected, "{binary}");
        };
        check("a_b", None);
        fs::create_dir_all(package.path().join("tests/in-dir")).unwrap();
        for name in ["a-b.rs", "c_d.rs"] {
            fs::write(package.path().join("tests").join(name), "").unwrap();
        }
        let manifest = "[package]\nname = \"c-d\"\n[[test]]\nname = 'e-f'\npath = \"tests/x.rs\"\n";
        fs::write(package.path().join("Cargo.toml"), manifest).unwrap();
        check("a_b", Some("a-b"));
        check("c_d", Some("c_d"));
        check("in_dir", Some("in-dir"));
        check("e_f", Some("e-f"));
        check("g_h", None);
    }

    #[test]
    fn binaries_have_nextests_names() {
        check_ids(Some("my-maps"), "/t/debug/deps/it-0123456789abcdef", ("my-maps::it", "my-maps.it"));
        check_ids(Some("my-maps"), "/t/debug/deps/my_maps-0123456789abcdef", ("my-maps", "my-maps"));
        check_ids(None, "/t/two-words", ("two-words", "two-words"));
    }

    #[test]
    fn sources_start_at_the_workspace() {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = package.parent().unwrap();
        assert_eq!(workspace_of(package, Some(Path::new(file!()))), workspace);
        assert_eq!(workspace_of(package, Some(Path::new("src/lib.rs"))), package);
        assert_eq!(workspace_of(package, Some(Path::new("no/such/file.rs"))), package);
        assert_eq!(workspace_of(package, None), package);
    }
}
