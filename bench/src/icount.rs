//! How many instructions a guest executes until its init runs: the same on every machine, however busy it is.
//!
//! With `-icount shift=0` QEMU's virtual clock, and with it the processor's time stamp counter, goes on by one an instruction.
//! lvh-init reads that counter first of all, and so does the floor's init.

use std::fs;
use std::path::Path;

use lvh_core::Kernel;
use serde_json::{Value, json};

use crate::bench::{self, Bench, CLOUD, PACKAGE};
use crate::contenders::FLOOR_SAYS;
use crate::floor::{self, Words};
use crate::recipe::Recipe;
use crate::shim::QEMU;
use crate::terminal::say;
use crate::{guest, measure};

/// One instruction a nanosecond; a CPU that waits does not make time pass.
const ICOUNT: &str = "-icount shift=0,sleep=off";

/// Those that are counted where the data directory has them.
const KERNELS: [&str; 5] = ["5.10", "6.1", "6.12", "7.x", CLOUD];

/// Millions of instructions from power-on to init's first line.
#[derive(Debug)]
pub(crate) struct Count {
    /// `uname -r`.
    pub(crate) release: String,
    /// lvh-init, with lvh's devices and initramfs.
    pub(crate) lvh: Option<f64>,
    /// The floor's init.
    pub(crate) floor: Option<f64>,
    /// The floor's init, started by the kernel's own decompressor and without lvh's words.
    pub(crate) plain: Option<f64>,
    /// Why one is missing.
    pub(crate) failures: Vec<String>,
}

impl Count {
    pub(crate) fn to_json(&self) -> Value {
        let Self { release, lvh, floor, plain, failures } = self;
        json!({ "release": release, "lvh_minsn": lvh, "floor_minsn": floor, "floor_plain_minsn": plain, "failures": failures })
    }
}

/// Counts on the kernels that need no network.
pub(crate) fn count_all(bench: &Bench) -> Vec<Count> {
    let mut names: Vec<&str> = KERNELS.into();
    for name in [Some(&bench.name), bench.fast.as_ref()].into_iter().flatten() {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let cached = names.into_iter().filter_map(|name| Some((name, bench::resolve(name, true).ok()?)));
    cached.map(|(name, kernel)| count(bench, name, &kernel)).collect()
}

fn count(bench: &Bench, name: &str, kernel: &Kernel) -> Count {
    let mut failures = Vec::new();
    let mut keep = |what: &str, result: Result<f64, String>| {
        let said = result.as_ref().map_or_else(String::clone, |minsn| format!("{minsn:.0} Minsn"));
        say(&format!("{what} of {name}: {said}"));
        result.map_err(|why| failures.push(format!("{what}: {why}"))).ok()
    };
    // First: it shows how lvh starts QEMU for this kernel, which the floors take over.
    let lvh = keep("lvh-init", lvh_init(bench, name));
    let image = kernel.vmlinux.as_deref().ok_or_else(|| "the kernel has no PVH entry".to_owned());
    let floor = keep("floor", image.and_then(|image| bare(bench, image, Words::Lvh)));
    let plain = keep("plain floor", bare(bench, &kernel.image, Words::Plain));
    Count { release: kernel.release.to_string(), lvh, floor, plain, failures }
}

fn lvh_init(bench: &Bench, name: &str) -> Result<f64, String> {
    let recipe = bench::lvh(name, &["dmesg"]).env("LVH_ACCEL", "tcg").cold();
    minsn(bench, bench.shim.before(recipe, ICOUNT), "lvh-init: started, cycles=")
}

fn bare(bench: &Bench, image: &Path, words: Words) -> Result<f64, String> {
    let told = |error: anyhow::Error| format!("{error:#}");
    let initrd = guest::floor(&bench.dir).map_err(told)?;
    let lvh = bench.shim.recorded().map_err(told)?;
    let recipe = Recipe::new(QEMU, PACKAGE)
        .args(floor::arguments(&lvh, image, &initrd, words))
        .args(["-serial", "stdio"])
        .args(ICOUNT.split(' '));
    minsn(bench, recipe, FLOOR_SAYS)
}

/// Runs `recipe`, and reads the number that follows `marker` in what it prints.
fn minsn(bench: &Bench, recipe: Recipe, marker: &str) -> Result<f64, String> {
    let log = bench.log("icount");
    measure::run(&recipe.expecting(marker), &log)?;
    let text = fs::read(&log).unwrap_or_default();
    number_after(&String::from_utf8_lossy(&text), marker)
        .map(|instructions| instructions / 1e6)
        .ok_or_else(|| format!("no number after `{marker}`"))
}

fn number_after(text: &str, marker: &str) -> Option<f64> {
    let (_, rest) = text.split_once(marker)?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_the_instructions() {
        let log = "[    1.016055] lvh-init: started, cycles=950000000\r\n[    2.0] later\n";
        assert_eq!(number_after(log, "cycles="), Some(950_000_000.0));
        assert_eq!(number_after(log, "absent="), None);
        assert_eq!(number_after("cycles=", "cycles="), None);
    }
}
