//! This test binary: what cargo and nextest call it, where its sources are, and who runs it.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use lvh_core::{HostContext, Moved};

use crate::case::TestCase;

/// The test binary, and what it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TestBinary {
    /// The package, where cargo or nextest runs us.
    pub(crate) package: Option<String>,
    /// The test binary, without the hash that cargo appends.
    pub(crate) binary: String,
    /// What relative source paths start from: the workspace, for the compiler runs there.
    pub(crate) workspace: PathBuf,
    /// A source file of the binary, as the compiler named it.
    pub(crate) source: Option<&'static Path>,
}

impl TestBinary {
    /// That of this process.
    pub(crate) fn of_process() -> Self {
        let package = env::var("CARGO_PKG_NAME").ok().filter(|name| !name.is_empty());
        let exe = env::current_exe().unwrap_or_default();
        let directory = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let directory = directory.or_else(|| env::current_dir().ok()).unwrap_or_default();
        let source = inventory::iter::<TestCase>().next().map(|case| Path::new(case.file));
        Self { package, binary: binary_name(&exe), workspace: workspace_of(&directory, source), source }
    }

    /// The binary as nextest calls it: `PACKAGE::BINARY`, or the package alone for the tests of its library.
    pub(crate) fn binary_id(&self) -> String {
        self.joined("::")
    }

    /// The same as part of a file's name; several systems take no colon in one.
    pub(crate) fn file_id(&self) -> String {
        self.joined(".")
    }

    /// What makes cargo build and run this binary, and others as little as possible.
    pub(crate) fn cargo_arguments(&self) -> Option<String> {
        let package = self.package.as_ref()?;
        // Tests in `src` are the library's or a program's; cargo has other flags for these.
        let in_src = self.source.is_some_and(|file| file.components().any(|part| part.as_os_str() == "src"));
        match in_src || package.replace('-', "_") == self.binary {
            true => Some(format!("-p {package}")),
            false => Some(format!("-p {package} --test {}", self.binary)),
        }
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

fn binary_name(exe: &Path) -> String {
    let stem = exe.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    let is_hash = |text: &str| text.len() == 16 && text.chars().all(|c| c.is_ascii_hexdigit());
    stem.rsplit_once('-').filter(|(_, hash)| is_hash(hash)).map_or(stem.as_ref(), |(name, _)| name).to_owned()
}

/// The nearest directory from which `source`, a file of the package, can be reached.
fn workspace_of(package: &Path, source: Option<&Path>) -> PathBuf {
    let reaches = |directory: &&Path| source.is_some_and(|source| directory.join(source).is_file());
    package.ancestors().find(reaches).unwrap_or(package).to_owned()
}

#[cfg(test)]
mod tests {
    use super::{TestBinary, binary_name, file_word, workspace_of};
    use std::path::Path;

    #[track_caller]
    fn check_ids(package: Option<&str>, exe: &str, expected: (&str, &str)) {
        let binary = binary_name(Path::new(exe));
        let here = TestBinary { package: package.map(str::to_owned), binary, workspace: "/".into(), source: None };
        assert_eq!((here.binary_id().as_str(), here.file_id().as_str()), expected);
    }

    #[track_caller]
    fn check_cargo(package: Option<&str>, binary: &str, source: &'static str, expected: Option<&str>) {
        let (package, source) = (package.map(str::to_owned), Some(Path::new(source)));
        let here = TestBinary { package, binary: binary.into(), workspace: "/".into(), source };
        assert_eq!(here.cargo_arguments().as_deref(), expected);
    }

    #[test]
    fn cargo_is_told_which_binary() {
        check_cargo(Some("my-maps"), "it", "maps/tests/it.rs", Some("-p my-maps --test it"));
        check_cargo(Some("my-maps"), "my_maps", "maps/src/lib.rs", Some("-p my-maps"));
        check_cargo(Some("my-maps"), "tool", "maps/src/bin/tool.rs", Some("-p my-maps"));
        check_cargo(None, "it", "tests/it.rs", None);
    }

    #[test]
    fn names_make_files() {
        for (name, word) in [("a::b::6.12", "a.b.6.12"), ("../x y", "..-x-y"), ("..", "-.."), ("", "-")] {
            assert_eq!(file_word(name), word);
        }
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
