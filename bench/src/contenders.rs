//! Who is measured.

use std::path::Path;

use crate::bench::{self, Bench, CLOUD, PACKAGE};
use crate::floor::{self, Words};
use crate::recipe::Recipe;
use crate::shim::{QEMU, find};
use crate::{guest, peers};

/// Something that is measured once a round.
#[derive(Debug)]
pub(crate) struct Contender {
    /// Its short name.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) what: &'static str,
    /// How it is run, or why it cannot be.
    pub(crate) recipe: Result<Recipe, String>,
}

/// The names, in the order of the report.
pub(crate) const NAMES: [(&str, &str); 19] = [
    (FLOOR, "floor: PVH, lvh's kernel words, init powers off"),
    ("floor-plain", "floor: bzImage, no words"),
    (EXEC, "lvh exec uname: as lvh chooses, warm"),
    (EXEC_COLD, "lvh exec uname: cold, as lvh chooses"),
    ("exec-vsock", "lvh exec uname: cold, vhost-user-vsock, virtiofs"),
    ("exec-9p", "lvh exec uname: cold, virtio-serial, 9p"),
    ("exec-packed", "lvh exec uname: cold, serial, packed"),
    (EXEC_CLOUD, "lvh exec uname: cold, Debian's cloud kernel"),
    (EXEC_FAST, "lvh exec uname: cold, a kernel of lvh-fast"),
    (ONE, "cargo test: 1 test, warm"),
    (ONE_COLD, "cargo test: 1 test, cold"),
    (TEN, "cargo test: 10 tests, one VM"),
    (NEXTEST, "cargo nextest: 10 tests, ten VMs"),
    (VNG, "virtme-ng uname: virtiofs"),
    ("vng-9p", "virtme-ng uname: 9p"),
    (VMTEST, "vmtest uname: 9p"),
    (FIRST_BUILD, "first build of examples/hello"),
    (ICOUNT, "guest instructions to lvh-init"),
    (STARTS, "where starts spend their time"),
];

/// Those that are no row of the table.
const APART: [&str; 3] = [FIRST_BUILD, ICOUNT, STARTS];

/// How the line of the floor's init begins.
pub(crate) const FLOOR_SAYS: &str = "floor-init: cycles=";

pub(crate) const FLOOR: &str = "floor";
pub(crate) const EXEC: &str = "exec";
pub(crate) const ONE: &str = "test-one";
pub(crate) const TEN: &str = "test-ten";
pub(crate) const NEXTEST: &str = "nextest-ten";
/// Cold: the VM boots. Warm, as lvh does by itself: it goes on from one that was booted before.
pub(crate) const EXEC_COLD: &str = "exec-cold";
/// On a kernel of the group `lvh-fast`, and on the smallest that Debian builds for VMs.
pub(crate) const EXEC_FAST: &str = "exec-fast";
pub(crate) const EXEC_CLOUD: &str = "exec-cloud";
pub(crate) const ONE_COLD: &str = "test-one-cold";
pub(crate) const VNG: &str = "vng";
pub(crate) const VMTEST: &str = "vmtest";
pub(crate) const FIRST_BUILD: &str = "first-build";
pub(crate) const ICOUNT: &str = "icount";
pub(crate) const STARTS: &str = "starts";

/// The wanted ones of those that run once a round.
pub(crate) fn wanted(bench: &Bench, only: &[String]) -> Vec<Contender> {
    let rounds = NAMES.iter().filter(|(name, _)| !APART.contains(name));
    let wanted = rounds.filter(|(name, _)| is_wanted(name, only));
    wanted.map(|&(name, what)| Contender { name, what, recipe: recipe(bench, name) }).collect()
}

/// Whether `--only` leaves `name` in.
pub(crate) fn is_wanted(name: &str, only: &[String]) -> bool {
    only.is_empty() || only.iter().any(|wanted| wanted == name)
}

/// How the contender of that name is run.
pub(crate) fn recipe(bench: &Bench, name: &str) -> Result<Recipe, String> {
    match name {
        FLOOR => bare(bench, bench.kernel.vmlinux.as_deref().ok_or("the kernel has no PVH entry")?, Words::Lvh),
        "floor-plain" => bare(bench, &bench.kernel.image, Words::Plain),
        EXEC => Ok(exec(bench)),
        EXEC_COLD => Ok(exec(bench).cold()),
        "exec-vsock" => Ok(on(exec(bench).cold(), "vhost-user-vsock", "virtiofs")),
        "exec-9p" => Ok(on(exec(bench).cold(), "virtio-serial", "9p")),
        "exec-packed" => Ok(on(exec(bench).cold(), "serial", "packed")),
        EXEC_CLOUD => fast(bench).and_then(|_| exec_on(CLOUD)),
        EXEC_FAST => fast(bench).and_then(exec_on),
        ONE => Ok(one(bench)),
        ONE_COLD => Ok(one(bench).cold()),
        TEN => Ok(cargo(bench, &["test"], &[], "ok. 10 passed")),
        NEXTEST => {
            find("cargo-nextest").ok_or("cargo-nextest is not installed: run tests/setup")?;
            Ok(cargo(bench, &["nextest", "run"], &[], "10 passed"))
        }
        VNG => peers::virtme_ng(bench, true),
        "vng-9p" => peers::virtme_ng(bench, false),
        VMTEST => peers::vmtest(bench),
        other => unreachable!("`{other}` does not run once a round"),
    }
}

fn bare(bench: &Bench, kernel: &Path, words: Words) -> Result<Recipe, String> {
    let initrd = guest::floor(&bench.dir).map_err(|error| format!("{error:#}"))?;
    Ok(Recipe::new(QEMU, PACKAGE)
        .args(floor::arguments(&bench.lvh_qemu, kernel, &initrd, words))
        .args(["-serial", "stdio"])
        // QEMU's exit code does not tell a panic from a power-off.
        .expecting(FLOOR_SAYS))
}

fn exec(bench: &Bench) -> Recipe {
    bench::lvh(&bench.name, &["uname", "-r"]).expecting(bench.kernel.release.as_str())
}

/// The kernel that the user named; without one Debian's is beside nothing.
fn fast(bench: &Bench) -> Result<&str, String> {
    bench.fast.as_deref().ok_or_else(|| "`--fast-kernel` names no kernel of the group `lvh-fast`".to_owned())
}

/// Cold, on another kernel than the others; it is fetched or built here, so that no sample holds that.
fn exec_on(kernel: &str) -> Result<Recipe, String> {
    let resolved = bench::resolve(kernel, false).map_err(|error| error.to_string())?;
    Ok(bench::lvh(kernel, &["uname", "-r"]).expecting(resolved.release.as_str()).cold())
}

fn on(recipe: Recipe, channel: &str, share: &str) -> Recipe {
    recipe.env("LVH_CHANNEL", channel).env("LVH_SHARE", share)
}

fn one(bench: &Bench) -> Recipe {
    cargo(bench, &["test"], &["--", "--exact", "test_0"], "ok. 1 passed")
}

fn cargo(bench: &Bench, verb: &[&str], more: &[&str], expect: &str) -> Recipe {
    Recipe::new("cargo", PACKAGE)
        .args(verb.iter().copied())
        .args(["--package", "lvh-bench-fixture", "--test", "ten"])
        .args(more.iter().copied())
        .env("LVH_KERNELS", &bench.name)
        .expecting(expect)
}
