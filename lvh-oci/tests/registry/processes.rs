use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::support::*;

const BLOB: &str = "GET /v2/k/blobs/";
const SIZE: usize = 6 << 20;

async fn served() -> (Registry, Proxy, tempfile::TempDir) {
    let registry = Registry::start(&Flavour::Open);
    publish(&registry.name("k:1"), SIZE, &quick()).await;
    let proxy = Proxy::start(&registry.address());
    (registry, proxy, tempfile::tempdir().unwrap())
}

#[tokio::test]
async fn two_processes_download_once() {
    let (_registry, proxy, dir) = served().await;
    proxy.on(BLOB, 9, Fault::Slow(Duration::from_millis(10)));
    let dirs: Vec<_> = (0..3).map(|n| dir.path().join(n.to_string())).collect();
    let start = |into: &std::path::PathBuf| {
        fs::create_dir(into).unwrap();
        Process::pull(&proxy.name("k:1"), into).env("LVH_OCI_TEST_STORE", dir.path().join("store")).spawn()
    };
    let children: Vec<_> = dirs.iter().map(start).collect();
    for (mut child, into) in children.into_iter().zip(&dirs) {
        assert!(child.wait().unwrap().success());
        let verdict = fs::read_to_string(into.join("verdict")).unwrap();
        assert!(verdict.starts_with("ok "), "{verdict}");
    }
    assert_eq!(proxy.requests(BLOB).len(), 2, "a layer and a configuration, for three");
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_leaves_no_blob() {
    let (registry, _proxy, dir) = served().await;
    let Some(verdict) = unshared(&registry.name("k:1"), dir.path(), 2 << 20) else {
        panic!("this machine's users may make no mount namespace, which this test needs");
    };
    assert!(verdict.starts_with("no space left on the disk of `") && verdict.contains("hint: make room"), "{verdict}");
    assert!(!dir.path().join("kernel").exists());
}

/// Whatever stands under a final name is complete.
fn nothing_is_half_made(dir: &Path) {
    for name in entries(&dir.join("store/blobs/sha256")) {
        assert_eq!(lvh_oci::Digest::of_file(&dir.join("store/blobs/sha256").join(&name)).unwrap().hex(), name);
    }
    if dir.join("kernel").exists() {
        assert_eq!(fs::read(dir.join("kernel/boot/vmlinuz-6.12.9")).unwrap(), noise(SIZE, SIZE as u64));
        assert!(dir.join("kernel/lib/modules/6.12.9/tool").exists(), "the last member");
    }
}

/// How many bytes of blobs there are that are not whole yet.
fn begun(dir: &Path) -> u64 {
    let partial = dir.join("store/partial");
    // What is whole goes elsewhere.
    entries(&partial).iter().filter_map(|name| fs::metadata(partial.join(name)).ok()).map(|file| file.len()).sum()
}

/// Waits until the child has so much of its blob, or has ended.
async fn under_way(dir: &Path, enough: u64, child: &mut Child) {
    while begun(dir) < enough && child.try_wait().unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Kills pulls at moments that are spread over the time that one takes, each in turn; `LVH_TEST_KILLS` says how many.
#[tokio::test]
async fn a_killed_pull_leaves_nothing_half_made_and_the_next_goes_on() {
    let (_registry, proxy, dir) = served().await;
    let kills: u32 = std::env::var("LVH_TEST_KILLS").map_or(12, |text| text.parse().unwrap());
    proxy.on(BLOB, usize::MAX, Fault::Slow(Duration::from_millis(10)));
    let whole = tempfile::tempdir().unwrap();
    let start = Instant::now();
    assert!(Process::pull(&proxy.name("k:1"), whole.path()).verdict(whole.path()).starts_with("ok "));
    let whole = start.elapsed();
    let mut finished = 0;
    for kill in 0..kills {
        let enough = begun(dir.path()) + SIZE as u64 / u64::from(kills);
        let mut child = Process::pull(&proxy.name("k:1"), dir.path()).spawn();
        // Every other one while its blob is on the way: how long it takes to come to that, a busy machine changes.
        match kill % 2 {
            0 => tokio::time::sleep(whole * (kill + 1) / kills).await,
            _ => under_way(dir.path(), enough, &mut child).await,
        }
        child.kill().unwrap();
        child.wait().unwrap();
        nothing_is_half_made(dir.path());
        if dir.path().join("kernel").exists() {
            finished += 1;
            fs::remove_dir_all(dir.path().join("kernel")).unwrap();
            fs::remove_dir_all(dir.path().join("store")).unwrap();
        }
    }
    let verdict = Process::pull(&proxy.name("k:1"), dir.path()).verdict(dir.path());
    assert!(verdict.starts_with("ok "), "{verdict}");
    nothing_is_half_made(dir.path());
    assert!(dir.path().join("kernel").exists());
    let resumed = proxy.requests("range: bytes=").len();
    assert!(
        finished < kills && (resumed > 0 || kills < 10),
        "of {kills} pulls {finished} were finished, {resumed} gone on with"
    );
    assert!(entries(dir.path()).iter().all(|name| !name.starts_with(".lvh-oci")), "{:?}", entries(dir.path()));
    assert_eq!(entries(&dir.path().join("store/partial")), [""; 0]);
}
