//! Images of registries.

use std::fs;
use std::process::Command;

use lvh_core::{Config, Events, image};

use crate::server::{Flavour, Registry};

/// Images go to a registry and come back; what was changed meanwhile is kept.
#[test]
fn push_and_pull() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let registry = Registry::start(&Flavour::Open);
    let path = |name: &str| dir.path().join(name);
    let lvh = |line: &str, code: i32| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lvh"));
        command.args(line.replace("REPO", &registry.name("images")).split(' ')).current_dir(dir.path());
        let output = command.env("HOME", dir.path()).env_remove("LVH_DATA_DIR").output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(output.status.code(), Some(code), "{line}: {err}");
        (out, err.replace(&registry.name("images"), "REPO"))
    };
    let read = |name: &str| fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    fs::create_dir_all(path("S/images")).unwrap();
    fs::write(path("S/images/base.qcow2"), "one").unwrap();
    let (pushed, _) = lvh("images push --dir S -i base.qcow2 REPO:main", 0);
    assert!(pushed.contains("images:main@sha256:"), "{pushed}");

    lvh("images pull --cache --platform=linux/amd64 --dir D REPO:main and more", 0);
    assert_eq!(read("D/images/base.qcow2"), "one");
    assert!(path("D/images/base.qcow2.zst").is_file());
    assert!(lvh("images pull --dir D REPO:main", 0).1.contains("is in `D/images` already"));

    // Another image under the same tag takes the place of what is as it came.
    fs::write(path("S/images/base.qcow2"), "two").unwrap();
    lvh("images push --dir S -i base.qcow2 REPO:main", 0);
    lvh("images pull --dir D REPO:main", 0);
    assert_eq!(read("D/images/base.qcow2"), "two");
    assert!(!path("D/images/base.qcow2.local-1").exists());

    // What was changed here is kept.
    fs::write(path("D/images/base.qcow2"), "mine").unwrap();
    let said = lvh("images pull --dir D REPO:main", 0).1;
    assert!(said.contains("was changed here, or is from elsewhere: it is `D/images/base.qcow2.local-1` now"), "{said}");
    assert_eq!(
        (read("D/images/base.qcow2"), read("D/images/base.qcow2.local-1")),
        ("two".to_owned(), "mine".to_owned())
    );

    let platform = "error: `REPO:main` has nothing for linux/arm64 (it has: linux/amd64)\n";
    assert!(lvh("images pull --dir D --platform linux/arm64 REPO:main", 1).1.contains(platform));
    assert!(lvh("images push --dir S -i ../base REPO:main", 1).1.contains("there is no image `S/images/../base`"));
    let mut left: Vec<_> = fs::read_dir(path("D/images")).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    let expected =
        [".base.qcow2.pulled", ".pull.lock", "base.qcow2", "base.qcow2.local-1", "base.qcow2.zst"].map(Into::into);
    assert_eq!(left, expected as [std::ffi::OsString; 5]);
}

/// A table of `lvh.toml` names an image of a registry: it is fetched once, and pinned. VMs have such ones in `tests/images.rs`.
#[test]
fn an_image_of_a_registry_has_a_name() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (registry, root) = (Registry::start(&Flavour::Open), dir.path().to_owned());
    let path = |name: &str| root.join(name);
    let name = registry.name("disks:main");
    let lvh = |line: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lvh"));
        let output = command.args(line.split(' ')).current_dir(&root).output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.code().unwrap(), out, err)
    };
    fs::create_dir_all(path("S/images")).unwrap();
    let push = |words: &str| {
        fs::write(path("S/images/base.qcow2"), words).unwrap();
        let (code, _, err) = lvh(&format!("images push --dir S -i base.qcow2 {name}"));
        assert_eq!(code, 0, "{err}");
    };
    push("first");
    fs::write(path("lvh.toml"), format!("data-dir = 'data'\n[images.far]\noci = '{name}'\n")).unwrap();
    let resolve = |vars: &[(&str, bool)]| {
        let mut config = Config::discover(&root).unwrap();
        let set = |name: &str| vars.iter().any(|(var, on)| *var == name && *on);
        (config.offline, config.locked) = (set("offline"), set("locked"));
        let store = config.store().unwrap().with_fetcher(env!("CARGO_BIN_EXE_lvh"));
        let source = config.image("far").unwrap();
        image::resolve_blocking("far", &source, &store, &Events::silent()).map_err(|error| error.report())
    };
    let locked = resolve(&[("locked", true)]).unwrap_err();
    assert!(locked.starts_with("image `far` is locked (`--locked`, LVH_LOCKED=1): it is not in `"), "{locked}");
    let offline = resolve(&[("offline", true)]).unwrap_err();
    let expected = format!(
        "image `far`: the image `{name}` is not in the data directory, and lvh is offline\n\n\
                            hint: where there is a network: lvh update far"
    );
    assert_eq!(offline, expected);
    let first = resolve(&[]).unwrap();
    assert_eq!(first.path.file_name().unwrap(), "base.qcow2");
    let lock = fs::read_to_string(path("lvh.lock")).unwrap();
    assert!(lock.contains(&format!("[[image]]\nname = \"far\"\nsource = \"oci {name}\"\n")), "{lock}");

    // The tag names another image by now.
    push("second");
    assert_eq!(resolve(&[("locked", true), ("offline", true)]).unwrap().digest, first.digest);
    let (code, out, err) = lvh("update far");
    assert!(code == 0 && out.starts_with("far sha256:"), "{out}{err}");
    let second = resolve(&[("locked", true)]).unwrap();
    assert_ne!(second.digest, first.digest);
    assert_ne!(fs::read_to_string(path("lvh.lock")).unwrap(), lock);

    // Several disks are a question; and what is here needs no registry.
    fs::write(path("S/images/other.qcow2"), "x").unwrap();
    lvh(&format!("images push --dir S -i base.qcow2 -i other.qcow2 {}", registry.name("disks:two")));
    let two = format!("data-dir = 'data'\n[images.far]\noci = '{}'\n", registry.name("disks:two"));
    fs::write(path("lvh.toml"), two).unwrap();
    let several = resolve(&[]).unwrap_err();
    assert!(
        several.contains("` has not one disk, but 2: base.qcow2, other.qcow2\n\nhint: `lvh images pull "),
        "{several}"
    );
    // What is here needs no registry.
    let by_digest = format!("data-dir = 'data'\n[images.far]\noci = '{name}@sha256:{}'\n", digest_in(&lock));
    fs::write(path("lvh.toml"), by_digest).unwrap();
    drop(registry);
    assert_eq!(resolve(&[("locked", true)]).unwrap().digest, first.digest);
}

/// The digest that `lvh.lock` has.
fn digest_in(lock: &str) -> &str {
    let (_, digest) = lock.split_once("sha256:").unwrap();
    digest.split('"').next().unwrap()
}
