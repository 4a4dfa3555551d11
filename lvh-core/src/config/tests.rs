//! Cases as data: a text, and what comes of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Accel, Channel, Config, KernelEventKind, Memory, Overrides, Share, VmDefaults};
use crate::image::ImageSource;
use crate::image::action::Op;
use crate::kernel::options::Base;
use crate::kernel::{DebSource, KernelSource, OciSource};

fn read(text: &str) -> Config {
    Config::parse(Path::new("lvh.toml"), text).unwrap_or_else(|error| panic!("{}", error.report()))
}

/// The whole file of the design, in the parts that this version can use.
const FULL: &str = r#"
data-dir = "_data"
default-kernels = ["6.12", "mine", "host"]

[vm]
cpus = 2
memory = "512M"
accel = "tcg"
boot-timeout = "90s"
test-timeout = "500ms"
env = ["FOO", "BAR_*"]
kernel-args = "quiet lsm=bpf"
modules = ["tun", "act_bpf"]
fail-on = ["warn", "hung-task"]

[kernels."6.12"]
deb = "linux-image-cloud-amd64"
suite = "trixie-backports"
mirror = "https://mirror.test/debian"
keyring = "keys/debian.gpg"
version = "6.12.41-1~bpo13+1"
allow-expired = true
[kernels.bpf-next]
git = "https://git.test/bpf-next.git"
branch = "master"
groups = ["basic", "bpf"]
[kernels.mine]
path = "../linux"

[images.base]
packages = ["curl"]
actions = [{ run-command = "passwd -d root" }]
"#;

#[test]
fn every_setting_is_read() {
    let config = Config::parse(Path::new("/w/lvh.toml"), FULL).unwrap_or_else(|error| panic!("{}", error.report()));
    assert_eq!(config.data_dir, Some(PathBuf::from("/w/_data")));
    assert_eq!(config.default_kernels, ["6.12", "mine", "host"]);
    assert_eq!(config.vm.cpus, Some(2));
    assert_eq!(config.vm.memory, Some(Memory::from_mib(512)));
    assert_eq!(config.vm.accel, Accel::Tcg);
    assert_eq!(config.vm.boot_timeout, Some(Duration::from_secs(90)));
    assert_eq!(config.vm.test_timeout, Some(Duration::from_millis(500)));
    assert_eq!(config.vm.kernel_args, "quiet lsm=bpf");
    assert_eq!(config.vm.modules, ["tun", "act_bpf"]);
    assert_eq!(config.vm.fail_on, [KernelEventKind::Warn, KernelEventKind::HungTask]);
    let passed: Vec<bool> =
        ["FOO", "FOOD", "BAR_1"].iter().map(|name| config.vm.env.iter().any(|p| p.matches(name))).collect();
    assert_eq!(passed, [true, false, true]);
}

#[test]
fn an_empty_list_is_not_a_missing_one() {
    let fail_on = |text: &str| Config::parse(Path::new("lvh.toml"), text).unwrap().vm.fail_on;
    assert_eq!(fail_on("[vm]\nfail-on = []"), []);
    assert_eq!(fail_on("[vm]\ncpus = 1"), VmDefaults::default().fail_on);
    assert!(!VmDefaults::default().fail_on.is_empty());
}

#[test]
fn a_deb_table_becomes_a_source() {
    let config = Config::parse(Path::new("/w/lvh.toml"), FULL).unwrap();
    let expected = DebSource {
        package: "linux-image-cloud-amd64".into(),
        suite: "trixie-backports".into(),
        mirror: Some("https://mirror.test/debian".into()),
        keyring: Some("/w/keys/debian.gpg".into()),
        version: Some("6.12.41-1~bpo13+1".into()),
        allow_expired: true,
    };
    assert_eq!(config.kernel("6.12").unwrap(), KernelSource::Deb(expected));
}

#[test]
fn a_git_table_becomes_a_source() {
    let git = |text: &str| {
        let text = format!("[kernels.k]\n{text}");
        let config = Config::parse(Path::new("/w/lvh.toml"), &text).map_err(|error| error.report())?;
        let Ok(KernelSource::Git(source)) = config.kernel("k") else { panic!("{text}") };
        let options: Vec<String> = source.build.options.iter().map(ToString::to_string).collect();
        Ok::<_, String>((source.url.to_string(), source.build.base, options, source.build.make_args))
    };
    let check = |text: &str, url: &str, base: Base, options: &[&str]| {
        let (found_url, found_base, found_options, _) = git(text).unwrap();
        let all: Vec<&str> = found_options.iter().map(String::as_str).collect();
        let last = &all[all.len() - options.len()..];
        assert_eq!((found_url.as_str(), found_base, last), (url, base, options), "{text}");
    };
    check("git = 'https://h/l.git'", "https://h/l.git?depth=1", Base::Defconfig, &[]);
    check("git = 'https://h/l.git?depth=0'\nbranch = 'net'", "https://h/l.git#net", Base::Defconfig, &[]);
    check("git = '../l#v6.1'", "/w/../l?depth=1#v6.1", Base::Defconfig, &[]);
    check(
        "git = 'https://h/l'\ngroups = ['lvh-boot', 'virtio']\noptions = ['USB=n', '--set-val NR_CPUS 8']",
        "https://h/l?depth=1",
        Base::Nothing,
        &["CONFIG_VIRTIO_BLK=y", "# CONFIG_USB is not set", "CONFIG_NR_CPUS=8"],
    );
    assert_eq!(git("git = 'https://h/l'\nmake-args = ['LLVM=1']").unwrap().3, ["LLVM=1"]);

    let refused = |text: &str, expected: &str| {
        let error = git(text).unwrap_err();
        assert!(error.starts_with(expected), "{text}: {error}");
    };
    refused("git = 'linux'", "/w/lvh.toml:2: `git` in [kernels.k]: Unsupported URL: 'linux'");
    refused("git = 'https://h/l'\nbranch = '-x'", "/w/lvh.toml:3: `branch` in [kernels.k]: `-x` cannot be the name");
    refused(
        "git = 'https://h/l'\n\ngroups = ['bfp']",
        "/w/lvh.toml:4: `groups` in [kernels.k]: there is no group `bfp`",
    );
    refused("git = 'https://h/l'\noptions = ['BPF']", "/w/lvh.toml:3: `options` in [kernels.k]: kernel option `BPF`:");
    refused("git = 'https://h/l'\npath = 'x'", "/w/lvh.toml:2: [kernels.k] has both `path` and `git`");
}

#[test]
fn without_a_file_the_defaults_hold() {
    let empty = read("");
    assert_eq!(empty.default_kernels, ["6.12"]);
    assert_eq!((empty.vm, Config::default().vm), (Default::default(), Default::default()));
}

#[test]
fn errors_name_the_line_and_what_was_expected() {
    let check = |text: &str, expected: &str| {
        let error = Config::parse(Path::new("lvh.toml"), text).expect_err(text);
        assert_eq!(error.report(), expected, "{text}");
    };
    check(
        "x = 1",
        "lvh.toml:1: unknown key `x` (expected `data-dir`, `default-kernels`, `kernel-repo`, `cache`, `vm`, `kernels` or `images`)",
    );
    check(
        "[vm]\ncpus = 1\nmemmory = '1G'",
        "lvh.toml:3: unknown key `memmory` in [vm] (expected `memory`, `cpus`, `accel`, `boot-timeout`, \
         `test-timeout`, `env`, `kernel-args`, `modules`, `fail-on`, `warm-start`, `network` or `headers`)",
    );
    check("vm = 3", "lvh.toml:1: `vm` is a number (expected a table: [vm])");
    check("[vm]\ncpus = '2'", "lvh.toml:2: `cpus` in [vm] is a string (expected a whole number from 1 to 255)");
    check("[vm]\n\ncpus = 0", "lvh.toml:3: `cpus` in [vm] is `0` (expected a whole number from 1 to 255)");
    check("[vm]\ncpus = -1", "lvh.toml:2: `cpus` in [vm] is `-1` (expected a whole number from 1 to 255)");
    check("[vm]\nmemory = 512", "lvh.toml:2: `memory` in [vm] is a number (expected a string)");
    for memory in ["512", "1.5G", "1T", "", "99999999999999999999G", "5000000G"] {
        check(
            &format!("[vm]\nmemory = '{memory}'"),
            &format!("lvh.toml:2: `memory` in [vm] is `{memory}` (expected a size such as `512M` or `1G`)"),
        );
    }
    check("[vm]\nmemory = '63M'", "lvh.toml:2: `memory` in [vm] is `63M` (expected at least `64M`)");
    check(
        "[vm]\nboot-timeout = '60'",
        "lvh.toml:2: `boot-timeout` in [vm] is `60` (expected a duration such as `500ms`, `60s` or `2m`)",
    );
    check("[vm]\naccel = 'xen'", "lvh.toml:2: `accel` in [vm] is `xen` (expected `auto`, `kvm` or `tcg`)");
    check(
        "[vm]\nenv = [\n  'OK',\n  'A*B',\n]",
        "lvh.toml:4: `env` in [vm] is `A*B` (expected a variable's name such as `FOO` or a prefix such as `BAR_*`)",
    );
    check(
        "[vm]\nmodules = ['../x']",
        "lvh.toml:2: `modules` in [vm] is `../x` (expected a module's name such as `tun`)",
    );
    check(
        "[vm]\nfail-on = [\n  'oops',\n  'warning',\n]",
        "lvh.toml:4: `fail-on` in [vm] is `warning` (expected `oops`, `warn`, `lockup`, `hung-task`, `rcu-stall`, `oom` or \
         `lockdep`)",
    );
    check(
        "[vm]\ncpus = 1.5",
        "lvh.toml:2: `cpus` in [vm] is a number with a fraction (expected a whole number from 1 to 255)",
    );
    check("[vm]\nwarm-start = 2026-01-01", "lvh.toml:2: `warm-start` in [vm] is a date (expected `true` or `false`)");
    check("[vm]\nenv = [\n  'OK',\n  7]", "lvh.toml:4: `env` in [vm] is a number (expected a string)");
    check("[vm.cpus]", "lvh.toml:1: `cpus` in [vm] is a table (expected a whole number from 1 to 255)");
    check("data-dir = ['x']", "lvh.toml:1: `data-dir` is an array (expected a string)");
    check("default-kernels = [7]", "lvh.toml:1: `default-kernels` is a number (expected a string)");
    check("default-kernels = '6.12'", "lvh.toml:1: `default-kernels` is a string (expected an array of strings)");
    check("\ndefault-kernels = []", "lvh.toml:2: `default-kernels` is empty (expected at least one kernel)");
}

#[test]
fn a_kernel_table_has_one_source_and_its_keys() {
    let check = |text: &str, expected: &str| {
        let error = Config::parse(Path::new("lvh.toml"), text).expect_err(text);
        assert_eq!(error.report(), expected, "{text}");
    };
    check(
        "[kernels.a]",
        "lvh.toml:1: [kernels.a] has no source (expected `deb`, `git`, `tarball`, `url`, `oci` or `path`)",
    );
    check(
        "[kernels.a]\ndeb = 'x'\npath = 'y'",
        "lvh.toml:3: [kernels.a] has both `deb` and `path` (expected one source)",
    );
    check("[kernels.a]\npath = 'y'\nsuite = 'z'", "lvh.toml:3: unknown key `suite` in [kernels.a] (expected `path`)");
    check("[kernels.a]\ndeb = 'x'", "lvh.toml:1: [kernels.a] has `deb` without `suite` (such as `suite = \"trixie\"`)");
    check(
        "[kernels.6.12]\ndeb = 'x'\nsuite = 'trixie'",
        "lvh.toml:1: unknown key `12` in [kernels.6] (expected `deb`, `suite`, `mirror`, `keyring`, `version`, \
         `allow-expired`, `path`, `oci`, `git`, `branch`, `groups`, `options`, `make-args`, `strict`, `tarball`, \
         `sha256` or `url`)\n\n\
         hint: a name with a dot needs quotes, as in [kernels.\"6.12\"]",
    );
    check(
        "[kernels.'a b']\npath = 'y'",
        "lvh.toml:1: the kernel name `a b` may hold letters, digits, `.`, `_` and `-` only",
    );
    check(
        "[kernels.'6.1']\ndeb = 'linux'\nsuite = '../x'",
        "lvh.toml:3: `suite` in [kernels.\"6.1\"] is `../x` (expected a suite such as `trixie` or \
         `trixie-backports`)",
    );
    check(
        "[kernels.a]\ndeb = 'linux'\nsuite = 'sid'\nmirror = 'mirror.test'",
        "lvh.toml:4: `mirror` in [kernels.a] is `mirror.test` (expected an `http`, `https` or `file` URL)",
    );
    check(
        "[kernels.a]\nurl = 'file:///boot/vmlinuz'",
        "lvh.toml:2: `url` in [kernels.a] is `file:///boot/vmlinuz` (expected an `http` or `https` URL)",
    );
    check(
        "[kernels.a]\ntarball = 'l.tar'\nsha256 = 'abc'",
        "lvh.toml:3: `sha256` in [kernels.a] is `abc` (expected 64 hex digits, as `sha256sum` prints)",
    );
    check(
        "[kernels.a]\nurl = 'http://h/k'\ngroups = []",
        "lvh.toml:3: unknown key `groups` in [kernels.a] (expected `url` or `sha256`)",
    );
    check(
        "[images.a]\nsize = 3",
        "lvh.toml:2: unknown key `size` in [images.a] (expected `suite`, `path`, `packages`, \
         `actions`, `parent`, `variant`, `image-size` or `oci`)",
    );
    check(
        "[images.a]\nimage-size = '8G'",
        "lvh.toml:1: [images.a] has no source (expected `path`, `oci`, `packages` or `parent`)",
    );
    check(
        "[images.a]\npath = 'x'\npackages = []",
        "lvh.toml:3: [images.a] has both `path` and `packages` (expected one source)",
    );
    check(
        "[images.\"a b\"]\npath = 'x'",
        "lvh.toml:1: the image name `a b` may hold letters, digits, `.`, `_` and `-` only",
    );
}

#[test]
fn a_syntax_error_names_its_line() {
    let error = Config::parse(Path::new("lvh.toml"), "[vm]\ncpus = \n").unwrap_err().to_string();
    assert!(error.starts_with("lvh.toml:2: "), "{error}");
}

#[test]
fn default_kernels_must_be_known() {
    let text = "default-kernels = [\n  '6.12',\n  '6.x7',\n]\n[kernels.bpf-next]\ngit = 'https://h/x'";
    let error = Config::parse(Path::new("lvh.toml"), text).unwrap_err();
    let expected = "lvh.toml:3: kernel `6.x7` is not in `lvh.toml` (known: 5.10, 6.1, 6.12, bpf-next)";
    assert_eq!(error.to_string(), expected);
    read(
        "default-kernels = ['bpf-next', './absent/tree', 'deb:linux-image-amd64@sid']\n[kernels.bpf-next]\ngit = 'https://h/x'",
    );
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn kernel_names_mean_their_sources() {
    let config = read(FULL);
    let check = |name: &str, package: &str, suite: &str, version: Option<&str>| {
        let KernelSource::Deb(found) = config.kernel(name).unwrap() else { panic!("{name}") };
        let found = (found.package.as_str(), found.suite.as_str(), found.version.as_deref());
        assert_eq!(found, (package, suite, version), "{name}");
    };
    let package = if cfg!(target_arch = "x86_64") { "linux-image-amd64" } else { "linux-image-arm64" };
    check("5.10", package, "bullseye", None);
    check("6.1", package, "bookworm", None);
    check("6.12", "linux-image-cloud-amd64", "trixie-backports", Some("6.12.41-1~bpo13+1"));
    check("deb:linux-image-amd64@sid", "linux-image-amd64", "sid", None);
    check("deb:linux-image-amd64@sid=6.1~rc1-1", "linux-image-amd64", "sid", Some("6.1~rc1-1"));
    assert_eq!(config.kernel("host").unwrap(), KernelSource::Host);
}

#[test]
fn paths_start_at_the_file() {
    let dir = env!("CARGO_MANIFEST_DIR");
    let file = Path::new(dir).join("lvh.toml");
    let config = Config::parse(&file, "[kernels.here]\npath = 'src'").unwrap();
    assert_eq!(config.kernel("here").unwrap(), KernelSource::Path(Path::new(dir).join("src")));
    assert_eq!(config.kernel("./src").unwrap(), KernelSource::Path(Path::new(dir).join("./src")));
}

#[test]
fn names_that_lead_nowhere_say_why() {
    let config = read(FULL);
    let check = |name: &str, expected: &str| {
        assert_eq!(config.kernel(name).unwrap_err().report(), expected, "{name}");
    };
    let expected = "expected `oci:` and an image, such as `oci:quay.io/lvh-images/kernel-images:6.6-main`";
    check("oci:", &format!("kernel `oci:`: {expected}"));
    check("oci:-x", &format!("kernel `oci:-x`: {expected}"));
    check("./absent", "kernel `./absent`: `././absent` does not exist");
    check("deb:linux", "kernel `deb:linux`: expected `deb:PACKAGE@SUITE` or `deb:PACKAGE@SUITE=VERSION`");
    check("deb:linux@..", "kernel `deb:linux@..`: `..` is not a suite such as `trixie` or `trixie-backports`");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn an_unknown_name_shows_the_table_to_write() {
    let expected = "kernel `6.x7` is not in `lvh.toml` (known: 5.10, 6.1, 6.12, bpf-next, mine)\n\n\
        hint: write a table [kernels.\"6.x7\"] with deb = \"linux-image-amd64\" and suite = \"…\", or with path = \"…\"";
    assert_eq!(read(FULL).kernel("6.x7").unwrap_err().report(), expected);
}

#[test]
fn misspelt_names_are_not_asked_for_in_a_registry() {
    let hint = |name: &str| read(FULL).kernel(name).unwrap_err().hint().map(str::to_owned);
    assert_eq!(hint("6.1x2").as_deref(), Some("did you mean `6.12`?"));
    assert_eq!(hint("bpf-nxt").as_deref(), Some("did you mean `bpf-next`?"));
}

#[test]
fn images_become_sources() {
    let image = |text: &str, name: &str| {
        let config = Config::parse(Path::new("/w/lvh.toml"), text).map_err(|error| error.to_string())?;
        let source = config.kernel(name).map_err(|error| error.to_string())?;
        let KernelSource::Oci(OciSource { image, otherwise }) = source else { return Err(format!("{source:?}")) };
        Ok((image, otherwise.map(|unknown| unknown.message)))
    };
    let check = |text: &str, name: &str, expected: &str, guessed: bool| {
        let (found, otherwise) = image(text, name).unwrap();
        assert_eq!((found.as_str(), otherwise.is_some()), (expected, guessed), "{text} {name}");
    };
    check("[kernels.k]\noci = 'quay.test/k:6.6'", "k", "quay.test/k:6.6", false);
    check("[kernels.k]\noci = 'oci-archive:k.tar:6.6-main'", "k", "oci-archive:/w/k.tar:6.6-main", false);
    check("", "oci:quay.test/k:6.6", "quay.test/k:6.6", false);
    check("", "oci:oci:layout", "oci:/w/layout", false);
    check("", "6.6", "quay.io/lvh-images/kernel-images:6.6-main", true);
    check("kernel-repo = 'r.test:5000/k'", "bpf-next", "r.test:5000/k:bpf-next-main", true);
    let unknown = "kernel `6.6` is not in `/w/lvh.toml` (known: 5.10, 6.1, 6.12)";
    assert_eq!(image("", "6.6").unwrap().1.as_deref(), Some(unknown));
    // What Debian has comes from there.
    assert!(image("", "6.12").unwrap_err().starts_with("Deb("));
    let refused = |text: &str, expected: &str| assert_eq!(image(text, "k").unwrap_err(), expected);
    let such = "such as `quay.io/lvh-images/kernel-images";
    refused(
        "[kernels.k]\noci = 'a b'",
        &format!("/w/lvh.toml:2: `oci` in [kernels.k] is `a b` (expected an image {such}:6.6-main`)"),
    );
    for cache in ["r.test/k", "oci://r", "oci://", "oci://r.test/k:main", "oci://a b/c"] {
        let such = "a registry and a repository, without a tag, such as `oci://registry.example.org/team/lvh`";
        refused(&format!("cache = '{cache}'"), &format!("/w/lvh.toml:1: `cache` is `{cache}` (expected {such})"));
    }
    for repo in ["r.test/k:main", "", "-x"] {
        let words = format!("`kernel-repo` is `{repo}` (expected a repository, without a tag, {such}`)");
        refused(&format!("kernel-repo = '{repo}'"), &format!("/w/lvh.toml:1: {words}"));
    }
}

/// What a data directory's `kernels.json` adds.
#[test]
fn kernels_json_goes_before_the_built_in_names() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, file) = (scratch.path(), scratch.path().join("kernels.json"));
    std::fs::write(
        &file,
        r#"{"kernels": [{"name": "6.6"}, {"name": "6.12", "url": "git://h/r?depth=1#b", "opts": [["-e", "BPF"]]},
        {"name": "mine"}, {"name": "host", "url": "ftp://h/r"}]}"#,
    )
    .unwrap();
    let text = "default-kernels = ['6.6']\ndata-dir = '.'\n[kernels.mine]\npath = 'src'";
    let config = Config::parse(&dir.join("lvh.toml"), text).unwrap();
    assert_eq!(config.kernel_names(), ["5.10", "6.1", "6.6", "6.12", "host", "mine"]);
    let check = |name: &str, expected: &str| {
        let found = config.kernel(name).map_or_else(|error| error.report(), |source| format!("{source:?}"));
        let found = found.replace(&dir.display().to_string(), "D");
        assert!(found.starts_with(expected), "{name}: {found}");
    };
    let hint = "\n\nhint: a table [kernels.\"6.6\"] in `lvh.toml` goes first";
    check("6.6", &format!("kernel `6.6` of `D/kernels.json` cannot be built: kernel `6.6` has no `url`{hint}"));
    check("6.12", "Git(GitSource { url: GitUrl { repository: \"git://h/r\", reference: Some(\"b\"), depth: Some(1) }");
    check(
        "host",
        "kernel `host` of `D/kernels.json` cannot be built: kernel `host` cannot be fetched: Unsupported URL",
    );
    check("mine", "kernel `mine`: `D/src` does not exist");
    check("6.1", "Deb(");
    let known = "(known: 5.10, 6.1, 6.6, 6.12, host, mine)";
    check("6.x7", &format!("kernel `6.x7` is not in `D/lvh.toml` or `D/kernels.json` {known}"));

    std::fs::write(&file, "{\n]").unwrap();
    check("6.6", "D/kernels.json:2:1: expected a name in double quotes, found `]`");
    check("./x/6.6", "kernel `./x/6.6`: `D/./x/6.6` does not exist");
    check("deb:linux-image-amd64@sid", "Deb(");
    check("mine", "kernel `mine`: `D/src` does not exist");
}

/// The environment says where the file is that knows the kernel.
#[test]
fn default_kernels_are_looked_up_in_the_data_directory_of_the_environment() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("kernels.json"), r#"{"kernels": [{"name": "ours"}]}"#).unwrap();
    std::fs::write(scratch.path().join("lvh.toml"), "default-kernels = ['ours']\ndata-dir = 'elsewhere'").unwrap();
    let with = |vars: &[(&str, &str)]| {
        let mut config = Config::find(scratch.path()).unwrap();
        config.override_with(overrides(vars).unwrap()).map(|()| config.default_kernels)
    };
    let dir = scratch.path().to_str().unwrap();
    assert_eq!(with(&[("LVH_DATA_DIR", dir)]).unwrap(), ["ours"]);
    assert_eq!(with(&[("LVH_DATA_DIR", dir), ("LVH_KERNELS", "ours,6.1")]).unwrap(), ["ours", "6.1"]);
    let place = format!("{dir}/lvh.toml:1: kernel `ours` is not in `{dir}/lvh.toml` (known: ");
    assert!(with(&[]).unwrap_err().to_string().starts_with(&place));
    assert!(Config::discover(scratch.path()).unwrap_err().to_string().starts_with(&place));
}

/// Reads pairs as an environment.
fn overrides(vars: &[(&str, &str)]) -> crate::Result<Overrides> {
    Overrides::from_env(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)))
}

#[test]
fn the_environment_wins() {
    let mut config = read(FULL);
    let vars = [
        ("LVH_KERNELS", "5.10, 6.1"),
        ("LVH_DATA_DIR", "/data"),
        ("LVH_ACCEL", "kvm"),
        ("LVH_CHANNEL", "virtio-serial"),
        ("LVH_SHARE", "9p"),
        ("LVH_OFFLINE", "1"),
        ("LVH_WARM_START", "0"),
        ("LVH_VERBOSE", "1"),
    ];
    config.override_with(overrides(&vars).unwrap()).unwrap();
    assert_eq!(config.default_kernels, ["5.10", "6.1"]);
    assert_eq!(config.data_dir().unwrap(), Path::new("/data"));
    assert_eq!(config.vm.accel, Accel::Kvm);
    assert_eq!((config.channel, config.share), (Some(Channel::VirtioSerial), Some(Share::NineP)));
    assert_eq!((config.offline, config.vm.warm_start, config.verbose), (true, false, true));
}

#[test]
fn empty_variables_change_nothing() {
    assert_eq!(overrides(&[("LVH_KERNELS", ""), ("LVH_OFFLINE", "")]).unwrap(), Overrides::default());
}

#[test]
fn a_bad_variable_is_named_with_what_it_may_be() {
    let check = |name: &str, value: &str, expected: &str| {
        let result = overrides(&[(name, value)]).and_then(|found| Config::default().override_with(found));
        assert_eq!(result.unwrap_err().to_string(), expected);
    };
    let is = |name: &str, value: &str| format!("the environment variable `{name}` is `{value}`");
    let channels = "`vhost-vsock`, `vhost-user-vsock`, `virtio-serial` or `serial`";
    check("LVH_ACCEL", "x", &format!("{} (expected `auto`, `kvm` or `tcg`)", is("LVH_ACCEL", "x")));
    check("LVH_CHANNEL", "x", &format!("{} (expected {channels})", is("LVH_CHANNEL", "x")));
    check("LVH_SHARE", "x", &format!("{} (expected `virtiofs`, `9p` or `packed`)", is("LVH_SHARE", "x")));
    check("LVH_OFFLINE", "yes", &format!("{} (expected `1` or `0`)", is("LVH_OFFLINE", "yes")));
    let kernels = "kernels with commas between them, such as `5.10,6.1`";
    check("LVH_KERNELS", "6.1,", &format!("{} (expected {kernels})", is("LVH_KERNELS", "6.1,")));
    check(
        "LVH_KERNELS",
        "6.x7",
        "LVH_KERNELS: there is no kernel `6.x7` (known: 5.10, 6.1, 6.12), and there is no `lvh.toml`",
    );
}

#[test]
fn the_nearest_file_upward_is_found() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let deep = dir.join("a/b");
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(dir.join("lvh.toml"), "[vm]\ncpus = 3").unwrap();
    let found = Config::discover(&deep).unwrap();
    assert_eq!((found.vm.cpus, found.file, found.base_dir), (Some(3), Some(dir.join("lvh.toml")), dir.to_owned()));
}

/// Kernels and images are names: the nearest file that has one says what it is.
#[test]
fn files_above_lend_their_kernels() {
    let scratch = tempfile::tempdir().unwrap();
    let (outer, inner) = (scratch.path(), scratch.path().join("crate"));
    std::fs::create_dir_all(&inner).unwrap();
    let above = "default-kernels = ['mine']\n[vm]\ncpus = 3\n[kernels.mine]\npath = 'linux'\n[kernels.both]\npath = 'a'\n\
                 [images.base]\npackages = []\n";
    std::fs::write(outer.join("lvh.toml"), above).unwrap();
    let write = |text: &str| std::fs::write(inner.join("lvh.toml"), text).unwrap();
    write("default-kernels = ['mine', 'both']\n[kernels.both]\npath = 'b'\n");
    let config = Config::discover(&inner).unwrap();
    assert_eq!(config.default_kernels, ["mine", "both"]);
    assert_eq!((config.vm.cpus, config.file.clone()), (None, Some(inner.join("lvh.toml"))));
    for place in [outer.join("linux"), inner.join("b")] {
        std::fs::create_dir(place).unwrap();
    }
    assert_eq!(config.kernel("mine").unwrap(), KernelSource::Path(outer.join("linux")));
    assert_eq!(config.kernel("both").unwrap(), KernelSource::Path(inner.join("b")));
    assert!(matches!(config.image("base").unwrap(), ImageSource::Built(_)));
    assert!(config.kernel("6.x7").unwrap_err().to_string().contains("(known: 5.10, 6.1, 6.12, both, mine)"));
    // One that names nothing has the defaults, not those of the file above.
    write("");
    assert_eq!(Config::discover(&inner).unwrap().default_kernels, ["6.12"]);
    std::fs::write(outer.join("lvh.toml"), "[vm]\nmemmory = 1").unwrap();
    let error = Config::discover(&inner).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}:2: unknown key", outer.join("lvh.toml").display())), "{error}");
}

#[test]
fn images_have_names() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[images.base]\npath = 'base.qcow2'\n[images.kind]\npath = 'absent.img'\n[images.far]\noci = 'h/i:t'\n";
    let config = Config::parse(&dir.path().join("lvh.toml"), text).unwrap();
    let disk = dir.path().join("base.qcow2");
    std::fs::write(&disk, "x").unwrap();
    for name in ["base", "./base.qcow2", disk.to_str().unwrap()] {
        let ImageSource::Path(path) = config.image(name).unwrap() else { panic!("{name}") };
        assert_eq!(path.canonicalize().unwrap(), disk.canonicalize().unwrap(), "{name}");
    }
    let check = |config: &Config, name: &str, expected: &str| {
        let report = config.image(name).unwrap_err().report();
        assert_eq!(report.replace(dir.path().to_str().unwrap(), "DIR"), expected);
    };
    check(&config, "kind", "image `kind`: `DIR/absent.img` does not exist");
    check(&config, "./x", "image `./x`: `DIR/./x` does not exist");
    let oci = |name: &str| match config.image(name) {
        Ok(ImageSource::Oci(source)) => source.image,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!([oci("far"), oci("oci:h/i@x")], ["h/i:t", "h/i@x"]);
    assert_eq!(oci("oci:oci:layout:t"), format!("oci:{}:t", dir.path().join("layout").display()));
    check(&config, "oci:", "image `oci:`: expected `oci:` and an image");
    check(
        &config,
        "bsae",
        "image `bsae` is not in `DIR/lvh.toml` (known: base, far, kind)\n\n\
         hint: did you mean `base`? If not, write a table [images.bsae] with path = \"…\"",
    );
    check(
        &Config::default(),
        "other.one",
        "there is no image `other.one`, and no `lvh.toml`\n\n\
         hint: write a table [images.\"other.one\"] with path = \"…\", in a file `lvh.toml` beside the package's or the \
         workspace's `Cargo.toml`",
    );
}

#[test]
fn images_are_built_of_tables() {
    let image = |text: &str, name: &str| {
        let config = Config::parse(Path::new("/w/lvh.toml"), text).unwrap_or_else(|error| panic!("{}", error.report()));
        config.image(name)
    };
    let text = "[images.base]\nsuite = 'bookworm'\npackages = ['curl']\nvariant = 'minbase'\nimage-size = '2G'\n\
                actions = [{ run-command = 'true' }, { upload = { file = 'f', dest = '/f' } }]\n\
                [images.child]\nparent = 'base'\n[images.other]\npackages = []\n[images.sister]\nparent = 'base'\n\
                [images.niece]\nparent = 'sister'\n";
    let ImageSource::Built(child) = image(text, "child").unwrap() else { panic!("it is built") };
    let names: Vec<_> = child.entries.iter().map(|entry| (entry.name.as_str(), entry.parent.as_str())).collect();
    assert_eq!(names, [("child.qcow2", "base.qcow2"), ("base.qcow2", "")]);
    // A parent is to know of all its children.
    assert_eq!(child.children.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["sister.qcow2"]);
    assert_eq!((child.name.as_str(), child.suite.as_str()), ("child.qcow2", "bookworm"));
    let base = &child.entries[1];
    assert_eq!((base.packages.as_slice(), base.variant.as_str()), (&["curl".to_owned()][..], "minbase"));
    assert_eq!((base.image_size.as_str(), base.bootable), ("2G", Some(false)));
    let ops: Vec<_> = base.actions.iter().map(|action| action.op.clone()).collect();
    let upload = Op::Upload { file: "/w/f".into(), dest: "/f".into() };
    assert_eq!(ops, [Op::RunCommand { command: "true".into() }, upload]);
    let ImageSource::Built(other) = image(text, "other").unwrap() else { panic!("it is built") };
    assert_eq!((other.entries.len(), other.suite.as_str()), (1, "trixie"));

    let lost = image("[images.a]\nparent = 'b'", "a").unwrap_err().report();
    let expected =
        "image `a` is made from `b`, which no table builds\n\nhint: write a table [images.b] with packages = […]";
    assert_eq!(lost, expected);
    for (text, words) in [
        (
            "[images.a]\nparent = 'b'\nsuite = 'sid'",
            "[images.a] has a `parent`, whose `suite` and `variant` it has too",
        ),
        ("[images.a]\nactions = [{ run = 'x' }]", "lvh.toml:2: `actions` in [images.a] unknown variant `run`"),
        (
            "[images.a]\npackages = 'x'",
            "lvh.toml:2: `packages` in [images.a] is a string (expected an array of strings)",
        ),
    ] {
        let error = Config::parse(Path::new("lvh.toml"), text).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

/// Those of the data directory are images whoever made them; what only stands in its `images.json` is built.
#[test]
fn images_of_the_data_directory_have_names() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir_all(data.join("images")).unwrap();
    std::fs::write(data.join("images/pulled.qcow2"), "x").unwrap();
    std::fs::write(data.join("images/.pulled.qcow2.made"), "x").unwrap();
    std::fs::write(
        data.join("images.json"),
        r#"[{"name": "pulled.qcow2"}, {"name": "k8s.qcow2", "parent": "pulled.qcow2"}]"#,
    )
    .unwrap();
    let text = "data-dir = 'data'\n[images.base]\npath = 'base.qcow2'\n";
    let config = Config::parse(&dir.path().join("lvh.toml"), text).unwrap();
    assert_eq!(config.image("pulled.qcow2").unwrap(), ImageSource::Path(data.join("images/pulled.qcow2")));
    assert_eq!(config.image_names(), ["base", "k8s.qcow2", "pulled.qcow2"]);
    let report = |name: &str| config.image(name).unwrap_err().report().replace(dir.path().to_str().unwrap(), "DIR");
    let ImageSource::Built(built) = config.image("k8s.qcow2").unwrap() else { panic!("it is not there") };
    // Its parent is there, and not built again.
    let entries: Vec<_> = built.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!((entries, built.suite.as_str(), built.data_dir), (vec!["k8s.qcow2"], "sid", Some(data)));
    for name in ["other", "", "..", ".pulled.qcow2.made"] {
        assert!(report(name).contains("(known: base, k8s.qcow2, pulled.qcow2)"), "{}", report(name));
    }
}
