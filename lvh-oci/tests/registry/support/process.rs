use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{pull_from, quick, report};

const SOURCE: &str = "LVH_OCI_TEST_SOURCE";
const DIR: &str = "LVH_OCI_TEST_DIR";
/// How long a credential helper may take.
pub(crate) const HELPER_SECONDS: &str = "LVH_OCI_TEST_HELPER_SECONDS";

/// A pull of `data/kernels/6.12` in a process of its own: blobs in `DIR/store`, kernel in `DIR/kernel`, verdict in `DIR/verdict`.
pub(crate) struct Process(Command);

impl Process {
    pub(crate) fn pull(source: &str, dir: &Path) -> Self {
        Self(on(Command::new(std::env::current_exe().unwrap()), source, dir))
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    pub(crate) fn spawn(mut self) -> Child {
        self.0.spawn().unwrap()
    }

    /// Its verdict: `ok DIGEST`, or the error's report.
    pub(crate) fn verdict(self, dir: &Path) -> String {
        verdict(self.spawn(), dir)
    }
}

pub(crate) fn verdict(mut child: Child, dir: &Path) -> String {
    assert!(child.wait().unwrap().success(), "the test `child` ran");
    fs::read_to_string(dir.join("verdict")).unwrap()
}

/// The same in a mount namespace where `DIR` is a disk of `size` bytes; none where this machine's users may make none.
pub(crate) fn unshared(source: &str, dir: &Path, size: u64) -> Option<String> {
    let script = format!("mount -t tmpfs -o size={size} none {0}/small && exec \"$0\" \"$@\"", dir.display());
    fs::create_dir(dir.join("small")).unwrap();
    let user: &[&str] = if rustix::process::getuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    let possible =
        Command::new("unshare").args(user).args(["--mount", "true"]).status().is_ok_and(|status| status.success());
    possible.then_some(())?;
    let mut command = Command::new("unshare");
    command.args(user).args(["--mount", "sh", "-c", &script]).arg(std::env::current_exe().unwrap());
    let child = on(command, source, dir).env("LVH_OCI_TEST_STORE", dir.join("small")).spawn().unwrap();
    Some(verdict(child, dir))
}

fn on(mut command: Command, source: &str, dir: &Path) -> Command {
    command.args(["--exact", "support::process::child", "--ignored", "--test-threads=1"]);
    command.env(SOURCE, source).env(DIR, dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    // Not those of who runs the tests.
    for name in [
        "REGISTRY_AUTH_FILE",
        "XDG_RUNTIME_DIR",
        "XDG_CONFIG_HOME",
        "SSL_CERT_FILE",
        "http_proxy",
        "HTTP_PROXY",
        "no_proxy",
        "NO_PROXY",
    ] {
        command.env_remove(name);
    }
    command.env("DOCKER_CONFIG", dir).env("HOME", dir);
    command
}

#[tokio::test]
#[ignore = "what other tests start as a process of its own"]
async fn child() {
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
    let store = std::env::var_os("LVH_OCI_TEST_STORE").map_or(dir.join("store"), PathBuf::from);
    let tls = std::env::var_os("LVH_OCI_TEST_TLS").is_some();
    let from_env = lvh_oci::Options::from_env();
    let mut options = lvh_oci::Options { plain_loopback: !tls, plain_http: from_env.plain_http, ..quick() };
    if let Ok(seconds) = std::env::var(HELPER_SECONDS) {
        options.helper_timeout = Duration::from_secs(seconds.parse().unwrap());
    }
    let work = async {
        let image = pull_from(&std::env::var(SOURCE).unwrap(), &store, &options).await?;
        image.unpack("data/kernels/6.12", &dir.join("kernel"), Default::default()).await?;
        Ok(format!("ok {}", image.digest))
    };
    let start = Instant::now();
    let verdict = work.await.unwrap_or_else(|error| report(&error));
    assert!(start.elapsed() < Duration::from_secs(120), "it took {:?}", start.elapsed());
    fs::write(dir.join("verdict"), verdict).unwrap();
}
