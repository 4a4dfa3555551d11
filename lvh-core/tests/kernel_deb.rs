//! Real Debian kernels through the machine's own apt. Downloads are kept in the data directory for the next run.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use lvh_core::kernel::{Availability, DebSource, KernelConfig, ModuleTree, forget, resolve, resolve_blocking};
use lvh_core::{Config, Error, Event, Events, Kernel, KernelSource, Result, Store};
use tempfile::TempDir;

fn deb(package: &str, suite: &str) -> DebSource {
    DebSource {
        package: package.to_owned(),
        suite: suite.to_owned(),
        mirror: None,
        keyring: None,
        version: None,
        allow_expired: false,
    }
}

/// The store that the runs of these tests share.
fn shared() -> Store {
    Config::for_process(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap().store().unwrap()
}

/// A store that goes with the test.
struct Fresh(TempDir);

impl Fresh {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn store(&self) -> Store {
        Store::open(self.0.path().join("data")).unwrap()
    }

    fn resolve(&self, source: DebSource) -> Result<Kernel> {
        resolve_blocking("fresh", &KernelSource::Deb(source), &self.store(), &Events::silent())
    }

    fn refuse(&self, source: DebSource) -> Error {
        let error = self.resolve(source).unwrap_err();
        assert!(!self.0.path().join("data/store/deb-kernel").exists(), "something was kept of a refused package");
        error
    }
}

/// Names that are wanted, and the modules to load for them, in order.
type Closure<'a> = (&'a [&'a str], &'a [&'a str]);

fn check(package: &str, suite: &str, version: &str, closures: &[Closure<'_>]) {
    let source = KernelSource::Deb(deb(package, suite));
    let resolved = resolve_blocking(suite, &source, &shared(), &Events::silent());
    let kernel = resolved.unwrap_or_else(|e| panic!("{}", e.report()));
    let release = kernel.release.as_str();
    assert!(release.starts_with(version), "{release}");
    assert!(kernel.identity.contains(release) && kernel.identity.contains("sha256:"), "{}", kernel.identity);
    assert!(fs::metadata(&kernel.image).unwrap().len() > 1 << 20);
    assert!(fs::read(kernel.vmlinux.unwrap()).unwrap().starts_with(b"\x7fELF"));
    assert!(KernelConfig::load(&kernel.config.unwrap()).unwrap().is_built_in("BPF_SYSCALL"));
    check_modules(&kernel.modules.unwrap(), closures);
    check_again(&source, &kernel.key);
}

fn check_modules(dir: &Path, closures: &[Closure<'_>]) {
    let tree = ModuleTree::open(dir).unwrap();
    assert_eq!(tree.availability("no_such_module"), Availability::Absent);
    for (wanted, order) in closures {
        let modules = tree.closure(wanted).unwrap();
        let names: Vec<_> = modules.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names, *order, "{wanted:?}");
        assert!(modules.iter().all(|module| module.data.starts_with(b"\x7fELF")));
        let mut found = names_without_depmod(dir, wanted);
        found.sort();
        assert_eq!(found, names.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
    }
}

/// The closure in the tree as the package has it, on a host that has no depmod.
fn names_without_depmod(dir: &Path, wanted: &[&str]) -> Vec<String> {
    let bare = tempfile::tempdir().unwrap();
    for part in ["kernel", "modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        symlink(dir.join(part), bare.path().join(part)).unwrap();
    }
    let modules = ModuleTree::open(bare.path()).unwrap().closure(wanted).unwrap();
    modules.into_iter().map(|module| module.name).collect()
}

/// The second time is a look into the store: no network, and no apt, of whose work there would be a word.
fn check_again(source: &KernelSource, key: &str) {
    let told: Arc<Mutex<Vec<Event>>> = Arc::default();
    let sink = told.clone();
    let events = Events::new(move |event| sink.lock().unwrap().push(event));
    let again = resolve_blocking("again", source, &shared().with_offline(true), &events).unwrap();
    assert_eq!((again.name.as_str(), again.key.as_str()), ("again", key));
    let told = told.lock().unwrap();
    assert!(told.is_empty(), "{told:?}");
}

const VSOCK: Closure<'_> =
    (&["vmw_vsock_virtio_transport"], &["vsock", "vmw_vsock_virtio_transport_common", "vmw_vsock_virtio_transport"]);

/// Up to 6.1 virtio itself is a module.
const VSOCK_WITH_VIRTIO: Closure<'_> =
    (VSOCK.0, &["virtio", "vsock", "vmw_vsock_virtio_transport_common", "virtio_ring", "vmw_vsock_virtio_transport"]);

#[test]
fn bullseye() {
    let names = ["vsock", "vmw_vsock_virtio_transport_common", "virtio_ring", "virtio", "vmw_vsock_virtio_transport"];
    check("linux-image-amd64", "bullseye", "5.10.", &[(VSOCK.0, &names)]);
}

#[test]
fn bookworm() {
    let ext4: Closure<'_> = (&["ext4"], &["crc32c_intel", "crc32c_generic", "jbd2", "mbcache", "crc16", "ext4"]);
    check("linux-image-amd64", "bookworm", "6.1.", &[VSOCK_WITH_VIRTIO, ext4]);
}

#[test]
fn bookworm_cloud() {
    let virtiofs: Closure<'_> = (&["virtiofs"], &["fuse", "virtio", "virtio_ring", "virtiofs"]);
    check("linux-image-cloud-amd64", "bookworm", "6.1.", &[VSOCK_WITH_VIRTIO, virtiofs]);
}

#[test]
fn trixie() {
    check("linux-image-amd64", "trixie", "6.12.", &[VSOCK, (&["virtio_pci"], &[])]);
}

/// Since 6.19 the files are in three packages and in `/usr/lib/modules` alone.
#[test]
fn trixie_backports() {
    check("linux-image-amd64", "trixie-backports", "7.", &[VSOCK]);
}

#[test]
fn trixie_backports_cloud() {
    check("linux-image-cloud-amd64", "trixie-backports", "7.", &[VSOCK]);
}

/// An unpacked package is an installed tree, and a bare vmlinux is a kernel too.
#[test]
fn a_local_tree_is_a_kernel() {
    let resolve = |source| {
        resolve_blocking("local", &source, &shared(), &Events::silent()).unwrap_or_else(|e| panic!("{}", e.report()))
    };
    let kernel = resolve(KernelSource::Deb(deb("linux-image-cloud-amd64", "bookworm")));
    let tree = resolve(KernelSource::Path(kernel.image.parent().unwrap().to_owned()));
    assert_eq!((&tree.release, &tree.image, &tree.config), (&kernel.release, &kernel.image, &kernel.config));
    assert_eq!(tree.modules, kernel.modules);
    assert_eq!(fs::read(tree.vmlinux.unwrap()).unwrap(), fs::read(kernel.vmlinux.as_ref().unwrap()).unwrap());
    let elf = resolve(KernelSource::Path(kernel.vmlinux.unwrap()));
    assert_eq!((elf.release, elf.modules), (kernel.release, None));
}

/// Who saw download progress: the asker, bytes done, bytes in all.
type Progress = Arc<Mutex<Vec<(usize, u64, u64)>>>;

fn recording(asker: usize, progress: &Progress) -> Events {
    let progress = progress.clone();
    Events::new(move |event| {
        if let Event::Progress { done, total, .. } = event {
            progress.lock().unwrap().push((asker, done, total.unwrap()));
        }
    })
}

#[test]
fn many_ask_and_one_fetches() {
    let (fresh, progress) = (Fresh::new(), Progress::default());
    let source = KernelSource::Deb(deb("linux-image-cloud-amd64", "bookworm"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ask = |asker| {
        let (source, store, events) = (source.clone(), fresh.store(), recording(asker, &progress));
        runtime.spawn(async move { resolve("many", &source, &store, &events).await })
    };
    let tasks: Vec<_> = (0..8).map(ask).collect();
    let keys: Vec<_> = tasks.into_iter().map(|task| runtime.block_on(task).unwrap().unwrap().key).collect();
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
    let progress = progress.lock().unwrap();
    assert!(progress.iter().all(|(asker, done, total)| *asker == progress[0].0 && done <= total), "{progress:?}");

    assert!(forget(&source, &fresh.store()).unwrap());
    let offline = fresh.store().with_offline(true);
    let report = resolve_blocking("gone", &source, &offline, &Events::silent()).unwrap_err().report();
    assert!(report.contains("LVH_OFFLINE"), "{report}");
}

#[test]
fn names_that_do_not_exist() {
    type Change = fn(&mut DebSource);
    let cases: [(Change, &str); 7] = [
        (|s| s.package = "linux-image-nonsense".into(), "no package `linux-image-nonsense` in the suite `bookworm`"),
        (|s| s.package = "hello".into(), "holds no kernel"),
        (|s| s.suite = "nonsense".into(), "check `suite`"),
        (|s| s.version = Some("0.1".into()), "has no version `0.1` in the suite `bookworm` (known: 6.1."),
        (|s| s.keyring = Some("/nonexistent.gpg".into()), "no keyring `/nonexistent.gpg`"),
        (|s| s.package = "-o=Dir::Etc=/".into(), "cannot be the `deb`"),
        (|s| s.mirror = Some("http://127.0.0.1:9/debian".into()), "check the network and `mirror`"),
    ];
    let fresh = Fresh::new();
    for (change, message) in cases {
        let mut source = deb("linux-image-cloud-amd64", "bookworm");
        change(&mut source);
        let report = fresh.refuse(source).report();
        assert!(report.contains(message), "{report}");
    }
}

/// Debian's security team signs with other keys than the archive does.
#[test]
fn a_foreign_key_is_refused() {
    let fresh = Fresh::new();
    let keyring = Path::new("/usr/share/keyrings/debian-archive-bullseye-security-automatic.gpg");
    let source = DebSource { keyring: Some(keyring.into()), ..deb("linux-image-amd64", "trixie") };
    let report = fresh.refuse(source).report();
    assert!(report.contains("NO_PUBKEY") && report.contains("set `keyring`"), "{report}");
}

/// An archive of our own, signed by a key of our own.
struct Archive {
    dir: PathBuf,
    keyring: PathBuf,
}

impl Archive {
    fn new(fresh: &Fresh, valid_until: &str) -> Self {
        let dir = fresh.0.path().join("archive");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/make-archive.sh");
        let made = Command::new("sh").arg(script).arg(&dir).arg(valid_until).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { keyring: dir.join("keyring.gpg"), dir }
    }

    fn source(&self, allow_expired: bool) -> DebSource {
        let mirror = Some(format!("file:{}", self.dir.display()));
        DebSource { mirror, keyring: Some(self.keyring.clone()), allow_expired, ..deb("linux-image-amd64", "stable") }
    }

    fn change(&self, file: &str, change: impl Fn(&[u8]) -> Vec<u8>) {
        let path = self.dir.join(file);
        fs::write(&path, change(&fs::read(&path).unwrap())).unwrap();
    }
}

const FUTURE: &str = "+10 days";

#[test]
fn an_archive_of_ones_own_is_used() {
    let fresh = Fresh::new();
    let archive = Archive::new(&fresh, FUTURE);
    let kernel = fresh.resolve(archive.source(false)).unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!(kernel.release.as_str(), "1.2.3-amd64");
    assert!(kernel.identity.starts_with("linux-image-1.2.3-amd64 1.2.3-1 sha256:"), "{}", kernel.identity);
    assert!(kernel.vmlinux.is_none(), "the kernel of this archive is a text");
    let pinned = DebSource { version: Some("1.2.3-1".to_owned()), ..archive.source(false) };
    assert_eq!(fresh.resolve(pinned).unwrap().key, kernel.key);
}

#[test]
fn changed_packages_are_refused() {
    let fresh = Fresh::new();
    let archive = Archive::new(&fresh, FUTURE);
    archive.change("linux-image-1.2.3-amd64_1.2.3-1_amd64.deb", |deb| [&deb[..deb.len() - 1], b"x"].concat());
    let report = fresh.refuse(archive.source(false)).report();
    assert!(report.contains("Hash Sum mismatch"), "{report}");
}

#[test]
fn changed_indexes_are_refused() {
    let fresh = Fresh::new();
    let archive = Archive::new(&fresh, FUTURE);
    archive.change("dists/stable/main/binary-amd64/Packages", |index| [index, b"\n"].concat());
    let report = fresh.refuse(archive.source(false)).report();
    assert!(report.contains("unexpected size") || report.contains("Hash Sum mismatch"), "{report}");
}

/// apt-get itself is content with an older index here.
#[test]
fn a_bad_signature_is_refused_even_after_a_good_one() {
    let fresh = Fresh::new();
    let archive = Archive::new(&fresh, FUTURE);
    let source = archive.source(false);
    fresh.resolve(source.clone()).unwrap();
    archive.change("dists/stable/InRelease", |release| {
        String::from_utf8_lossy(release).replace("Origin: Test", "Origin: Text").into_bytes()
    });
    let source = KernelSource::Deb(source);
    assert!(forget(&source, &fresh.store()).unwrap());
    let report = resolve_blocking("bad", &source, &fresh.store(), &Events::silent()).unwrap_err().report();
    assert!(report.contains("BADSIG"), "{report}");
}

#[test]
fn expired_indexes_are_refused_unless_allowed() {
    let fresh = Fresh::new();
    let archive = Archive::new(&fresh, "-1 day");
    let report = fresh.refuse(archive.source(false)).report();
    assert!(report.contains("expired") && report.contains("allow-expired"), "{report}");
    assert_eq!(fresh.resolve(archive.source(true)).unwrap().release.as_str(), "1.2.3-amd64");
}
