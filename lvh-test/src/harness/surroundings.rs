//! Who runs this test binary, and where its sources are.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::case::TestCase;

/// What the binary belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// The package, where cargo or nextest runs us.
    pub(crate) package: Option<String>,
    /// The test binary, without the hash that cargo appends.
    pub(crate) binary: String,
    /// What relative source paths start from: the workspace, for the compiler runs there.
    pub(crate) workspace: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    pub(crate) fn of_process() -> Self {
        let package = env::var("CARGO_PKG_NAME").ok().filter(|name| !name.is_empty());
        let exe = env::current_exe().unwrap_or_default();
        let directory = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let directory = directory.or_else(|| env::current_dir().ok()).unwrap_or_default();
        let source = inventory::iter::<TestCase>().next().map(|case| Path::new(case.file));
        Self { package, binary: binary_name(&exe), workspace: workspace_of(&directory, source) }
    }

    /// The binary as nextest calls it: `PACKAGE::BINARY`, or the package alone for the tests of its library.
    pub(crate) fn binary_id(&self) -> String {
        self.joined("::")
    }

    /// The same as part of a file's name; several systems take no colon in one.
    pub(crate) fn file_id(&self) -> String {
        self.joined(".")
    }

    fn joined(&self, separator: &str) -> String {
        match &self.package {
            Some(package) if package.replace('-', "_") == self.binary => package.clone(),
            Some(package) => format!("{package}{separator}{}", self.binary),
            None => self.binary.clone(),
        }
    }
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
    use super::{Surroundings, binary_name, workspace_of};
    use std::path::Path;

    #[track_caller]
    fn check_ids(package: Option<&str>, exe: &str, expected: (&str, &str)) {
        let binary = binary_name(Path::new(exe));
        let here = Surroundings { package: package.map(str::to_owned), binary, workspace: "/".into() };
        assert_eq!((here.binary_id().as_str(), here.file_id().as_str()), expected);
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
