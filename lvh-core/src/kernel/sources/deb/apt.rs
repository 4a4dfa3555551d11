use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::package::Package;
use crate::process::Tool;
use crate::store::{Key, Lock, Store};
use crate::{Error, ErrorKind, Result};

/// What apt says of a full disk.
const FULL: &str = "No space left on device";

/// One suite of one archive, for one architecture.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) mirror: String,
    pub(super) suite: String,
    pub(super) keyring: PathBuf,
    pub(super) arch: &'static str,
    pub(super) allow_expired: bool,
}

/// A private apt that knows one [`Archive`]; held by one process at a time.
#[derive(Debug)]
pub(super) struct Apt {
    dir: PathBuf,
    suite: String,
    _lock: Lock,
}

impl Apt {
    /// Sets up its directory in the store. `waiting` is called once if another process uses it.
    pub(super) fn open(store: &Store, archive: &Archive, waiting: &dyn Fn()) -> Result<Self> {
        let stanza = archive.stanza();
        let name = format!("apt-{}", &Key::of([&stanza]).as_str()[..16]);
        let lock = store.lock(&name, waiting)?;
        let apt = Self { dir: store.state(&name)?, suite: archive.suite.clone(), _lock: lock };
        for dir in ["etc/apt.conf.d", "etc/preferences.d", "etc/sources.list.d", "lists/partial", "cache", "state"] {
            let dir = apt.dir.join(dir);
            fs::create_dir_all(&dir).map_err(|e| Error::path("create", &dir, e))?;
        }
        apt.write("state/status", "")?;
        apt.write("etc/sources.list.d/archive.sources", &stanza)?;
        apt.write("apt.conf", &apt.configuration(archive.arch, &inherited_settings()?))?;
        Ok(apt)
    }

    /// Fetches the suite's index and checks its signature and age.
    pub(super) fn update(&self) -> Result<()> {
        self.tool("apt-get")?.args(["-q", "update"]).run().map(drop).map_err(|cause| self.explain(cause))
    }

    /// Looks up `package` in its newest version or in exactly `version`.
    pub(super) fn show(&self, package: &str, version: Option<&str>) -> Result<Package> {
        let asked = version.map_or_else(|| package.to_owned(), |version| format!("{package}={version}"));
        let shown = self.tool("apt-cache")?.args(["show", "--no-all-versions", &asked]).run();
        // A name that is only provided by others is no error to apt-cache, but prints nothing.
        shown.as_deref().ok().and_then(Package::parse).ok_or_else(|| self.unknown(package, version, shown.err()))
    }

    /// Downloads `packages` into the directory `into`; apt checks their digests. `tick` is called meanwhile.
    pub(super) fn download(&self, packages: &[Package], into: &Path, tick: &mut dyn FnMut()) -> Result<()> {
        let names = packages.iter().map(|package| format!("{}={}", package.name, package.version));
        let args = ["-q", "download"].map(str::to_owned).into_iter().chain(names);
        self.tool("apt-get")?.args(args).dir(into).run_with(tick).map(drop).map_err(|cause| self.explain(cause))
    }

    /// Downloads the file at `uri` to `to`, past the index: its digest is known.
    pub(super) fn fetch(&self, uri: &str, sha256: &str, to: &Path, tick: &mut dyn FnMut()) -> Result<()> {
        // Of `file:` it would make a link.
        let uri = uri.strip_prefix("file:").map_or_else(|| uri.to_owned(), |path| format!("copy:{path}"));
        let helper = Path::new("/usr/lib/apt/apt-helper");
        if !helper.is_file() {
            let message = format!("`{}` is not there", helper.display());
            return Err(Error::new(ErrorKind::Missing, message).with_hint("apt install apt"));
        }
        let digest = format!("SHA256:{sha256}");
        let tool = self.private(Tool::at(helper)).args(["download-file", &uri]).args([to]).args([digest]);
        tool.run_with(tick)
            .map(drop)
            .map_err(|cause| Error::new(ErrorKind::Artifact, format!("failed to fetch `{uri}`")).with_source(cause))
    }

    fn tool(&self, name: &str) -> Result<Tool> {
        apt_tool(name).map(|tool| self.private(tool))
    }

    fn private(&self, tool: Tool) -> Tool {
        tool.deadline(Duration::from_secs(20 * 60)).env("APT_CONFIG", &self.dir.join("apt.conf"))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        fs::write(&path, text).map_err(|e| Error::path("write", &path, e))
    }

    fn configuration(&self, arch: &str, inherited: &str) -> String {
        let dir = self.dir.display();
        format!(
            r#"Dir::Etc "{dir}/etc"; Dir::Etc::main "{dir}/etc/main"; Dir::Etc::parts "{dir}/etc/apt.conf.d";
Dir::Etc::sourcelist "{dir}/etc/sources.list"; Dir::Etc::sourceparts "{dir}/etc/sources.list.d";
Dir::Etc::preferences "{dir}/etc/preferences"; Dir::Etc::preferencesparts "{dir}/etc/preferences.d";
Dir::Etc::trusted "/nonexistent"; Dir::Etc::trustedparts "/nonexistent";
Dir::Etc::netrc "/etc/apt/auth.conf"; Dir::Etc::netrcparts "/etc/apt/auth.conf.d";
Dir::State "{dir}/state"; Dir::State::lists "{dir}/lists"; Dir::State::status "{dir}/state/status";
Dir::Cache "{dir}/cache"; Dir::Log "{dir}";
APT::Architecture "{arch}"; APT::Architectures {{ "{arch}"; }};
{inherited}
Acquire::Languages "none"; Acquire::GzipIndexes "true"; Acquire::Retries "3";
// The sandbox's user may not enter the data directory; what is fetched is verified all the same.
APT::Sandbox::User "root";
// Without it, apt-get update succeeds on a bad signature where an older index is at hand.
APT::Update::Error-Mode "any";
// Hooks of the machine, such as those of container images that delete every downloaded package.
#clear DPkg::Post-Invoke; #clear APT::Update::Pre-Invoke; #clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"#
        )
    }

    /// Puts a hint to what apt-get said.
    fn explain(&self, cause: Error) -> Error {
        let said = cause.output().unwrap_or_default();
        let hints = [
            ("is expired", "the index is older than its `Valid-Until`: `allow-expired = true` accepts it"),
            ("NO_PUBKEY", "the keyring does not hold the suite's key: set `keyring`, or update debian-archive-keyring"),
            ("BADSIG", "the index was changed after it was signed: try another `mirror`"),
            ("Hash Sum mismatch", "the mirror is being updated or was tampered with: try again or set `mirror`"),
            ("does not have a Release file", "check `suite` and `mirror`"),
            ("Could not resolve", "check the network and `mirror`"),
            ("Could not connect", "check the network and `mirror`"),
        ];
        let mut hint = hints.iter().find(|(word, _)| said.contains(word)).map(|(_, hint)| (*hint).to_owned());
        let mut message = format!("failed to fetch from Debian's suite `{}`", self.suite);
        if said.contains(FULL) {
            message = format!("{message}: {FULL}");
            let dir = self.dir.display();
            hint = Some(format!(
                "the disk of `{dir}` is full: `lvh gc` makes room, or LVH_DATA_DIR names another directory"
            ));
        } else if let (Some(hint), Ok(mirror)) = (&mut hint, std::env::var("LVH_DEBIAN_MIRROR")) {
            *hint = format!("{hint} (LVH_DEBIAN_MIRROR is `{mirror}`)");
        }
        let error = Error::new(ErrorKind::Artifact, message).with_source(cause);
        hint.into_iter().fold(error, Error::with_hint)
    }

    fn unknown(&self, package: &str, version: Option<&str>, cause: Option<Error>) -> Error {
        let versions = self.versions(package).unwrap_or_default();
        let (suite, hint) = (&self.suite, if versions.is_empty() { "check `deb` and `suite`" } else { "" });
        let message = match version {
            Some(version) if !versions.is_empty() => {
                format!("`{package}` has no version `{version}` in the suite `{suite}` (known: {versions})")
            }
            _ => format!("there is no package `{package}` in the suite `{suite}`"),
        };
        let error = cause.into_iter().fold(Error::new(ErrorKind::Usage, message), Error::with_source);
        if hint.is_empty() { error } else { error.with_hint(hint) }
    }

    fn versions(&self, package: &str) -> Result<String> {
        let shown = self.tool("apt-cache")?.args(["show", package]).run()?;
        let versions: Vec<_> = shown.lines().filter_map(|line| line.strip_prefix("Version: ")).collect();
        Ok(versions.join(", "))
    }
}

impl Drop for Apt {
    /// Removes apt's binary caches: half of all it writes, and made anew in a second.
    fn drop(&mut self) {
        for cache in ["pkgcache.bin", "srcpkgcache.bin"] {
            let _ = fs::remove_file(self.dir.join("cache").join(cache));
        }
    }
}

impl Archive {
    /// The archive as a deb822 source.
    fn stanza(&self) -> String {
        let Self { mirror, suite, arch, .. } = self;
        let check = if self.allow_expired { "no" } else { "yes" };
        format!(
            "Types: deb\nURIs: {mirror}\nSuites: {suite}\nComponents: main\nArchitectures: {arch}\n\
             Signed-By: {}\nCheck-Valid-Until: {check}\n",
            self.keyring.display()
        )
    }
}

fn apt_tool(name: &str) -> Result<Tool> {
    let hint = "install apt and dpkg (other distributions package them too), or name another source than `deb`";
    Tool::new(name, "apt").map_err(|e| e.with_hint(hint))
}

/// How the machine's own apt reaches the network: proxies, time limits, certificates. What concerns trust is left out.
fn inherited_settings() -> Result<String> {
    let dump = apt_tool("apt-config")?.args(["dump"]).run()?;
    let wanted = |line: &&str| {
        let name = line.split([' ', ':']).take(3).collect::<Vec<_>>().join(":");
        ["http", "https", "ftp", "socks", "tor", "ForceIPv4", "ForceIPv6"]
            .iter()
            .any(|s| name == format!("Acquire::{s}"))
    };
    Ok(dump.lines().filter(wanted).collect::<Vec<_>>().join("\n"))
}
