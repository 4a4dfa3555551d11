//! Where a program was built, on a machine that may be another: its compiler put paths of that one into it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::HostContext;

/// What cargo told the compiler of a test, each absent where it did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildPlace {
    /// `CARGO_MANIFEST_DIR`: the package's directory.
    pub package: Option<&'static str>,
    /// `CARGO_TARGET_TMPDIR`: the scratch directory in the target directory.
    pub scratch: Option<&'static str>,
    /// `OUT_DIR`: what the build script made.
    pub out_dir: Option<&'static str>,
}

/// A path of the machine that built a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The path there.
    pub from: PathBuf,
    /// Where that is here; none where it is not known.
    pub to: Option<PathBuf>,
}

impl BuildPlace {
    /// Its directories that are not on this machine, and where what was in them is, as far as `context` tells: the package's
    /// workspace, and the target directory of an archive of cargo-nextest's.
    pub fn moved(&self, context: &HostContext) -> Vec<Moved> {
        let package = self.package.map(Path::new).filter(|package| !package.exists());
        let sources = package.map(|package| sources(package, &context.package()));
        let built = self.built(context).filter(|built| built.to.as_ref() != Some(&built.from));
        let of_sources = sources.iter().flat_map(|(from, to)| entries(from, to, from));
        let of_target = built.into_iter().flat_map(|Moved { from, to }| match to {
            Some(to) => {
                let lead = sources.as_ref().and_then(|(there, here)| Some(here.join(from.strip_prefix(there).ok()?)));
                entries(&from, &to, lead.as_ref().unwrap_or(&from))
            }
            None if from.exists() => Vec::new(),
            None => vec![Moved { from, to: None }],
        });
        of_sources.chain(of_target).collect()
    }

    /// The target directory, or as much of it as is known: the scratch directory is known to tests of `tests/` alone.
    fn built(&self, context: &HostContext) -> Option<Moved> {
        if let Some(target) = self.scratch.and_then(|scratch| Path::new(scratch).parent()) {
            return Some(Moved { from: target.to_owned(), to: context.target_dir() });
        }
        // At `PROFILE/build/PACKAGE/out`, as the program is at `PROFILE/deps/NAME`.
        let profile = Path::new(self.out_dir?).ancestors().nth(3)?;
        let here = context.target_dir().and_then(|_| Some(context.exe.parent()?.parent()?.to_owned()));
        Some(Moved { from: profile.to_owned(), to: here })
    }
}

/// The directory of the sources there and here: the workspace, where it ends in the package alike, else the package.
fn sources(there: &Path, here: &Path) -> (PathBuf, PathBuf) {
    let workspaces = here.ancestors().filter(|dir| dir.join("Cargo.toml").is_file());
    let alike = workspaces.filter_map(|dir| {
        let inner = here.strip_prefix(dir).ok()?;
        let above = there.ends_with(inner).then(|| there.ancestors().nth(inner.components().count()))??;
        above.parent().map(|_| (above.to_owned(), dir.to_owned()))
    });
    alike.last().unwrap_or_else(|| (there.to_owned(), here.to_owned()))
}

/// `from` as a whole or, where a directory of this machine is what is seen there (`seen`), what that does not have.
fn entries(from: &Path, to: &Path, seen: &Path) -> Vec<Moved> {
    let moved = |from: PathBuf, to: PathBuf| Moved { from, to: Some(to) };
    if !seen.is_dir() {
        return vec![moved(from.to_owned(), to.to_owned())];
    }
    let entries = fs::read_dir(to).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let absent = entries.filter(|name| !seen.join(name).exists());
    absent.map(|name| moved(from.join(&name), to.join(&name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: BuildPlace = BuildPlace {
        package: Some("/no/such/ws/pkg"),
        scratch: Some("/no/such/ws/target/tmp"),
        out_dir: Some("/no/such/ws/target/debug/build/pkg-0/out"),
    };

    /// What is moved, in a machine with these `files` (below a directory `D`); a program of `D/a/target` runs in `D/ws/pkg`.
    #[track_caller]
    fn check(place: BuildPlace, files: &[&str], expected: &[(&str, Option<&str>)]) {
        let machine = tempfile::tempdir().unwrap();
        let root = machine.path().canonicalize().unwrap();
        for file in files {
            let file = root.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let context =
            HostContext { exe: root.join("a/target/debug/deps/t"), cwd: root.join("ws/pkg"), env: Vec::new() };
        let text = |path: &Path| path.to_str().unwrap().replace(root.to_str().unwrap(), "D");
        let moved = place.moved(&context);
        let found: Vec<_> =
            moved.iter().map(|moved| (text(&moved.from), moved.to.as_ref().map(|to| text(to)))).collect();
        let found: Vec<_> = found.iter().map(|(from, to)| (from.as_str(), to.as_deref())).collect();
        assert_eq!(found, expected);
    }

    const MARK: &str = "a/target/nextest/binaries-metadata.json";

    #[test]
    fn what_is_elsewhere_is_found() {
        let sources = ("/no/such/ws", Some("D/ws"));
        let target = ("/no/such/ws/target", Some("D/a/target"));
        check(PLACE, &["ws/Cargo.toml", "ws/pkg/f", MARK], &[sources, target]);
        check(PLACE, &["ws/Cargo.toml", "ws/pkg/Cargo.toml", "a/target/tmp/x"], &[sources, target]);
        // Without manifests, only the package is known.
        check(PLACE, &["ws/pkg/f", MARK], &[("/no/such/ws/pkg", Some("D/ws/pkg")), target]);
        // The target directory that is there has no such programs.
        let [debug, nextest] = ["debug", "nextest"].map(|name| format!("/no/such/ws/target/{name}"));
        let parts = [(debug.as_str(), Some("D/a/target/debug")), (nextest.as_str(), Some("D/a/target/nextest"))];
        let files = ["ws/Cargo.toml", "ws/target/lvh/log", "a/target/debug/t", MARK];
        check(PLACE, &files, &[&[sources], &parts[..1], &parts[1..]].concat());
    }

    #[test]
    fn what_is_not_known_is_named() {
        let sources = ("/no/such/ws/pkg", Some("D/ws/pkg"));
        check(PLACE, &["ws/pkg/f"], &[sources, ("/no/such/ws/target", None)]);
        let unit = BuildPlace { scratch: None, ..PLACE };
        check(unit, &["ws/pkg/f"], &[sources, ("/no/such/ws/target/debug", None)]);
        check(unit, &["ws/pkg/f", MARK], &[sources, ("/no/such/ws/target/debug", Some("D/a/target/debug"))]);
        check(BuildPlace { out_dir: None, ..unit }, &["ws/pkg/f"], &[sources]);
    }

    #[test]
    fn what_is_there_is_let_be() {
        let here = BuildPlace { package: Some("/usr/bin"), scratch: None, out_dir: Some("/usr/lib/x/y/z") };
        check(here, &["ws/Cargo.toml"], &[]);
        let target = BuildPlace { scratch: Some("/usr/no/such/tmp"), ..here };
        check(target, &["ws/Cargo.toml", MARK], &[("/usr/no/such", Some("D/a/target"))]);
        // A directory that is there has no such entry.
        let other = BuildPlace { package: Some("/usr/no-such-package"), scratch: None, out_dir: None };
        check(other, &["ws/pkg/f"], &[("/usr/no-such-package", Some("D/ws/pkg"))]);
    }
}
