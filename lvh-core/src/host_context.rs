//! Where a program runs in the guest: the same paths, directory, arguments and variables as on the host.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::{EnvPattern, pattern_matches};
use crate::guest::protocol::PROFILES;
use crate::vm::RootFs;

/// Where the guest has mounts of its own, which hide what the host has there.
const GUEST_MOUNTS: [&str; 5] = ["/tmp", "/run", "/dev", "/proc", "/sys"];

/// Directories of an image's own system: the host's are not shown in their place, but what lies in them may be.
const OF_SYSTEMS: [&str; 16] = [
    "/",
    "/dev",
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/local",
    "/var",
    "/var/lib",
];

/// As [`OF_SYSTEMS`], with all that lies in them.
const WHOLLY_OF_SYSTEMS: [&str; 9] =
    ["/bin", "/boot", "/etc", "/lib", "/lib64", "/sbin", "/usr/bin", "/usr/lib", "/usr/sbin"];

/// Variables that reach the guest; a star stands for any rest. Not among them: what describes the host's
/// user, such as `HOME`, `TMPDIR` and `LD_LIBRARY_PATH`.
const FORWARDED: [&str; 10] =
    ["RUST_*", "CARGO", "CARGO_*", "OUT_DIR", "NEXTEST*", "INSTA_*", "TERM", "NO_COLOR", "CLICOLOR*", "COLORTERM"];

/// What every guest process gets instead.
pub(crate) const GUEST_ENV: [(&str, &str); 4] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("USER", "root"),
    ("LOGNAME", "root"),
];

/// Where LLVM's coverage runtime writes.
const PROFILE: &str = "LLVM_PROFILE_FILE";

/// What a program finds around itself on the host.
#[derive(Debug, Clone)]
pub struct HostContext {
    /// The program.
    pub exe: PathBuf,
    /// The working directory.
    pub cwd: PathBuf,
    /// All variables.
    pub env: Vec<(OsString, OsString)>,
}

/// The directories of the host whose changes a guest is told of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// Those with all below them but caches (directories with a `CACHEDIR.TAG`) and `.git`.
    pub trees: Vec<PathBuf>,
    /// Those of which only their own files count.
    pub directories: Vec<PathBuf>,
}

impl HostContext {
    /// That of the running process.
    ///
    /// # Errors
    /// The operating system does not tell where we are.
    pub fn here() -> io::Result<Self> {
        Ok(Self { exe: std::env::current_exe()?, cwd: std::env::current_dir()?, env: std::env::vars_os().collect() })
    }

    /// Cargo's target directory, of whose programs this is one; none where it lies elsewhere.
    pub fn target_dir(&self) -> Option<PathBuf> {
        // A unit test's may have no scratch directory; cargo's mark for backup programs is in each.
        let is_target = |dir: &PathBuf| dir.join("tmp").is_dir() || dir.join("CACHEDIR.TAG").is_file();
        candidates(&self.exe)?.into_iter().find(|dir| is_target(dir) || is_unpacked(dir))
    }

    /// The directory for what a run leaves: the target directory, but that of the workspace where cargo-nextest unpacked an archive,
    /// which it removes again.
    pub fn kept_dir(&self) -> Option<PathBuf> {
        let workspace = || {
            let named = self.variable("NEXTEST_WORKSPACE_ROOT").map(PathBuf::from);
            named.unwrap_or_else(|| workspace_of(&self.package())).join("target")
        };
        self.target_dir().map(|target| if is_unpacked(&target) { workspace() } else { target })
    }

    /// The directory of the package: cargo and nextest name it, and without them it is where we are.
    pub(crate) fn package(&self) -> PathBuf {
        self.variable("CARGO_MANIFEST_DIR").map_or_else(|| self.cwd.clone(), PathBuf::from)
    }

    /// The directories that the guest may write to: cargo's scratch directory. They exist afterwards.
    ///
    /// # Errors
    /// One cannot be made.
    pub fn writable(&self) -> io::Result<Vec<PathBuf>> {
        let scratch = self.variable("CARGO_TARGET_TMPDIR").map(PathBuf::from).or_else(|| scratch_beside(&self.exe));
        scratch.into_iter().filter(|dir| dir.is_absolute()).map(made).collect()
    }

    /// Where coverage profiles go, if any are wanted. It exists afterwards. It may be the whole target directory, so guests
    /// have a place of their own for them.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn profiles(&self) -> io::Result<Option<PathBuf>> {
        let directory = self.variable(PROFILE).map(Path::new).and_then(Path::parent);
        directory.map(|dir| made(self.cwd.join(dir))).transpose()
    }

    /// The directories that a guest with this root must be shown: on the host's, those that something it mounts hides; on
    /// another, all but those of a system, of which it has its own.
    pub fn visible(&self, root: &RootFs) -> Vec<PathBuf> {
        let around = [self.exe.parent(), Some(self.cwd.as_path())];
        // Where cargo does not say: the workspace around the working directory, which the host's root has anyway.
        let manifest = self.variable("CARGO_MANIFEST_DIR").map(Path::new);
        let manifest = manifest.or_else(|| Some(self.cwd.as_path()).filter(|_| *root != RootFs::Host));
        let workspace = manifest.map(workspace_of);
        let wanted = around.into_iter().flatten().map(Path::to_owned).chain(workspace).chain(self.of_cargo());
        let mut wanted: Vec<PathBuf> = wanted.flat_map(with_links).collect();
        wanted.retain(|path| if *root == RootFs::Host { is_hidden(path) } else { !is_of_systems(path) });
        wanted.sort();
        // Across two mounts nothing can be renamed.
        wanted.dedup_by(|inner, outer| inner.starts_with(outer));
        wanted
    }

    /// The directories whose changes the guest is told of: those of the sources, and those of what cargo builds for a test.
    pub fn watched(&self) -> Watched {
        let workspace = self.variable("CARGO_MANIFEST_DIR").map(|manifest| workspace_of(Path::new(manifest)));
        let made = self.variable("OUT_DIR").map(PathBuf::from);
        let trees = workspace.into_iter().chain([self.cwd.clone()]).chain(made).collect();
        let programs = self
            .directories_of_programs()
            .map(Path::to_owned)
            .chain(self.exe.ancestors().skip(1).take(2).map(Path::to_owned));
        Watched { trees, directories: programs.collect() }
    }

    /// The directories of the programs that cargo built for a test.
    fn directories_of_programs(&self) -> impl Iterator<Item = &Path> {
        let programs = self.env.iter().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"CARGO_BIN_EXE_"));
        programs.filter_map(|(_, program)| Path::new(program).parent())
    }

    /// The directories that cargo points at: the target directory, where its programs and build scripts' files are, and
    /// cargo's own.
    fn of_cargo(&self) -> Vec<PathBuf> {
        let named = ["OUT_DIR", "CARGO_HOME", "CARGO_TARGET_DIR"].into_iter().filter_map(|name| self.variable(name));
        let directories = named.map(|dir| self.cwd.join(dir)).chain(self.directories_of_programs().map(Path::to_owned));
        directories.chain(self.target_dir()).filter(|dir| dir.is_dir()).collect()
    }

    /// The programs that a guest with this root may be asked to start: on the host's, this one alone needs a thought.
    pub fn programs(&self, root: &RootFs) -> Vec<PathBuf> {
        let of_tests = |name: &OsStr| {
            let name = name.as_encoded_bytes();
            name.starts_with(b"CARGO_BIN_EXE_") || name.starts_with(b"NEXTEST_BIN_EXE_")
        };
        let others = self.env.iter().filter(|(name, _)| *root != RootFs::Host && of_tests(name));
        let others = others.map(|(_, program)| self.cwd.join(program)).filter(|program| program.is_file());
        let mut programs: Vec<PathBuf> = std::iter::once(self.exe.clone()).chain(others).collect();
        programs[1..].sort();
        programs.dedup();
        programs
    }

    /// The environment of a process in a guest with this root, before what guest mode needs.
    pub fn guest_env(&self, root: &RootFs, extra: &[EnvPattern]) -> Vec<(OsString, OsString)> {
        let forwarded = |name: &OsStr| {
            let Some(name) = name.to_str() else { return false };
            FORWARDED.iter().any(|pattern| pattern_matches(pattern, name))
                || extra.iter().any(|pattern| pattern.matches(name))
        };
        let base = GUEST_ENV.map(|(name, value)| match name {
            // Only on its own root are the host's programs where the host has them.
            "PATH" if *root == RootFs::Host => (name.into(), self.path(value)),
            _ => (name.into(), value.into()),
        });
        let forwarded = self.env.iter().filter(|(name, value)| forwarded(name) && !is_lvh_runner(name, value)).cloned();
        let profile = self.variable(PROFILE).map(|profile| (PROFILE.into(), unique(profile)));
        base.into_iter().chain(forwarded).chain(profile).collect()
    }

    /// The host's directories of programs, then those of `standard` that are not among them: the guest has the same files.
    fn path(&self, standard: &str) -> OsString {
        let host = self.variable("PATH").map(std::env::split_paths).into_iter().flatten();
        // Each that a guest looks into costs it a request to the host.
        let host: Vec<PathBuf> = host.filter(|dir| dir.is_dir()).collect();
        let standard = std::env::split_paths(standard).filter(|dir| !host.contains(dir)).collect::<Vec<_>>();
        // What was split can be joined.
        std::env::join_paths(host.iter().chain(&standard)).unwrap_or_default()
    }

    fn variable(&self, name: &str) -> Option<&OsStr> {
        self.env
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_os_str())
            .filter(|value| !value.is_empty())
    }
}

/// Whether cargo, or a test that starts its program as cargo would, starts a VM by it: in a guest that would be one in another.
fn is_lvh_runner(name: &OsStr, value: &OsStr) -> bool {
    let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { return false };
    let program = value.split_whitespace().next().map(Path::new).and_then(Path::file_name);
    pattern_matches("CARGO_TARGET_*", name) && name.ends_with("_RUNNER") && program == Some(OsStr::new("lvh"))
}

/// Whether a mount that guests have hides it.
fn is_hidden(path: &Path) -> bool {
    let hidden_by = |mount: &Path| path.starts_with(mount) && path != mount;
    GUEST_MOUNTS.iter().any(|mount| hidden_by(Path::new(mount)))
}

fn is_of_systems(path: &Path) -> bool {
    OF_SYSTEMS.iter().any(|dir| path == Path::new(dir)) || WHOLLY_OF_SYSTEMS.iter().any(|dir| path.starts_with(dir))
}

/// Makes a directory; its path without links.
fn made(directory: PathBuf) -> io::Result<PathBuf> {
    std::fs::create_dir_all(&directory)?;
    directory.canonicalize()
}

/// The way to `path`: the links that lie on it, then where they lead. A writable directory is mounted there alone.
fn with_links(path: PathBuf) -> Vec<PathBuf> {
    let link = path.ancestors().filter(|above| above.is_symlink()).last();
    let next = link.filter(|_| path.exists()).and_then(|link| {
        let target = link.parent()?.join(link.read_link().ok()?);
        Some((link.to_owned(), target.join(path.strip_prefix(link).ok()?)))
    });
    match next {
        Some((link, next)) => std::iter::once(link).chain(with_links(next)).collect(),
        None => vec![path],
    }
}

/// cargo sets `CARGO_TARGET_TMPDIR` when it compiles a test, not when it runs it: it is `tmp` in the target directory,
/// in which the binary is at `[TRIPLE/]PROFILE/deps/NAME`.
fn scratch_beside(exe: &Path) -> Option<PathBuf> {
    candidates(exe)?
        .into_iter()
        .find(|dir| is_unpacked(dir) || dir.join("tmp").is_dir())
        .map(|target| target.join("tmp"))
}

/// Whether it is the target directory of an archive that cargo-nextest unpacked.
fn is_unpacked(target: &Path) -> bool {
    target.join("nextest/binaries-metadata.json").is_file()
}

/// What may be the target directory above a test's program.
fn candidates(exe: &Path) -> Option<Vec<PathBuf>> {
    let profile = exe.parent().filter(|deps| deps.ends_with("deps"))?.parent()?;
    Some(profile.ancestors().skip(1).take(2).map(Path::to_owned).collect())
}

/// The outermost directory above a package that holds a `Cargo.toml`: fixtures may lie beside the package.
fn workspace_of(manifest: &Path) -> PathBuf {
    let has_manifest = |dir: &&Path| dir.join("Cargo.toml").is_file();
    manifest.ancestors().filter(has_manifest).last().unwrap_or(manifest).to_owned()
}

/// Where a guest's profile goes. Process ids repeat from guest to guest: without the mark, one guest's profile would replace
/// another's.
fn unique(profile: &OsStr) -> OsString {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let path = Path::new(PROFILES).join(Path::new(profile).file_name().unwrap_or_default());
    let mark = format!("-lvh{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(mark);
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name).into_os_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(exe: &str, cwd: &str, env: &[(&str, &str)]) -> HostContext {
        HostContext {
            exe: exe.into(),
            cwd: cwd.into(),
            env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        }
    }

    #[track_caller]
    fn check_visible(exe: &str, cwd: &str, expected: &[&str]) {
        let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
        assert_eq!(context(exe, cwd, &[]).visible(&RootFs::Host), expected);
    }

    #[track_caller]
    fn check_on_an_image(exe: &str, cwd: &str, expected: &[&str]) {
        let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
        assert_eq!(context(exe, cwd, &[]).visible(&RootFs::Initramfs), expected);
    }

    #[test]
    fn a_root_of_its_own_is_shown_what_is_no_system() {
        check_on_an_image("/home/u/p/target/debug/deps/t", "/home/u/p", &["/home/u/p"]);
        check_on_an_image("/w/t/debug/deps/t", "/w/p", &["/w/p", "/w/t/debug/deps"]);
        check_on_an_image("/usr/bin/lvh", "/", &[]);
        check_on_an_image("/usr/lib/p/t", "/etc/x", &[]);
        check_on_an_image("/usr/src/p/t", "/tmp", &["/usr/src/p"]);
        check_on_an_image("/root/p/t", "/root", &["/root/p"]);
        check_on_an_image("/p/t", "/libx", &["/libx", "/p"]);
    }

    #[test]
    fn what_the_guest_hides_is_shown() {
        check_visible("/home/u/p/target/debug/deps/t", "/home/u/p", &[]);
        check_visible("/tmp/p/target/debug/deps/t", "/tmp/p", &["/tmp/p"]);
        check_visible("/tmp/p/a/deps/t", "/tmp/p", &["/tmp/p"]);
        check_visible("/tmp/t/debug/deps/t", "/tmp/p", &["/tmp/p", "/tmp/t/debug/deps"]);
        check_visible("/p/target/debug/deps/t", "/tmp", &[]);
    }

    #[test]
    fn cargo_in_the_guest_starts_no_vm() {
        let runs = |runner| {
            let env = [("CARGO_TARGET_X_Y_RUNNER", runner), ("CARGO_TARGET_DIR", "lvh")];
            let env = context("/e", "/", &env).guest_env(&RootFs::Host, &[]);
            assert_eq!(env.last().unwrap().0, "CARGO_TARGET_DIR");
            env.iter().any(|(name, _)| name == "CARGO_TARGET_X_Y_RUNNER")
        };
        assert!(!runs("lvh runner") && !runs("/opt/bin/lvh runner --kernel 6.1") && !runs("lvh"));
        assert!(runs("qemu-aarch64 -L /lvh") && runs("/opt/lvh/other runner") && runs(""));
    }

    #[test]
    fn only_what_is_meant_for_the_guest_is_forwarded() {
        let host = [("PATH", "/usr"), ("RUST_LOG", "debug"), ("SECRET", "1"), ("MY_VAR", "2"), ("TERM", "xterm")];
        let env = context("/e", "/", &host).guest_env(&RootFs::Host, &["MY_*".parse().unwrap()]);
        let names: Vec<_> = env.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(names, ["PATH", "HOME", "USER", "LOGNAME", "RUST_LOG", "MY_VAR", "TERM"]);
        assert_eq!(env[0].1, "/usr:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let bare = context("/e", "/", &[("PATH", "/bin:/usr:/no/such")]);
        let path = |root| bare.guest_env(root, &[])[0].1.clone();
        assert_eq!(path(&RootFs::Host), "/bin:/usr:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin");
        assert_eq!(path(&RootFs::Initramfs), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    }

    #[test]
    fn every_guest_has_a_profile_of_its_own() {
        let env = [(PROFILE, "/t/ws-%p-%14m.profraw")];
        let profile = || context("/e", "/", &env).guest_env(&RootFs::Host, &[]).pop().unwrap().1.into_string().unwrap();
        let (first, second) = (profile(), profile());
        assert!(first.starts_with("/run/lvh-profiles/ws-%p-%14m-lvh") && first.ends_with(".profraw"), "{first}");
        assert_ne!(first, second);
    }
}
