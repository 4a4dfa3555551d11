//! What the figures were measured on.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value};

use crate::bench::Bench;
use crate::shim::QEMU;

/// Facts of the machine and versions of what took part, each a line.
#[derive(Debug)]
pub(crate) struct Machine(Vec<(&'static str, String)>);

impl Machine {
    /// Looks.
    pub(crate) fn look(bench: &Bench) -> Self {
        let accel = if bench.tcg { "tcg (KVM does not work here, or LVH_ACCEL says so)" } else { "kvm" };
        let peer = |path: &str| version(&bench.dir.join(path));
        Self(vec![
            ("cpu", cpu()),
            ("cores", std::thread::available_parallelism().map_or(0, usize::from).to_string()),
            ("memory", proc_value("/proc/meminfo", "MemTotal")),
            ("host kernel", read("/proc/sys/kernel/osrelease")),
            ("accelerator", accel.to_owned()),
            ("guest kernel", format!("{} ({})", bench.kernel.release, bench.kernel.identity)),
            ("qemu", version(Path::new(QEMU))),
            ("rustc", version(Path::new("rustc"))),
            ("virtme-ng", peer("venv/bin/vng")),
            ("virtiofsd", peer("peers/bin/virtiofsd")),
            ("vmtest", peer("peers/bin/vmtest")),
            ("load at start", read("/proc/loadavg")),
        ])
    }

    /// Adds what is known at the end only.
    pub(crate) fn finish(&mut self) {
        self.0.push(("load at end", read("/proc/loadavg")));
    }

    /// Whether others used the machine: it was loaded before we began, or at the end by more than we are.
    pub(crate) fn is_busy(&self) -> bool {
        let fact = |name: &str| self.0.iter().find(|(fact, _)| *fact == name).map_or("", |(_, value)| value);
        let load = |name: &str| fact(name).split(' ').next().and_then(|load| load.parse::<f64>().ok()).unwrap_or(0.0);
        let cores: f64 = fact("cores").parse().unwrap_or(1.0);
        load("load at start") > cores / 2.0 || load("load at end") > cores + 1.0
    }

    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
    }

    pub(crate) fn to_json(&self) -> Value {
        let facts = self.0.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())));
        Value::Object(facts.collect::<Map<_, _>>())
    }
}

fn cpu() -> String {
    proc_value("/proc/cpuinfo", "model name")
}

fn proc_value(file: &str, key: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| line.split_once(':').filter(|(name, _)| name.trim() == key));
    value.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default().trim().to_owned()
}

/// The first line of what `program --version` says.
fn version(program: &Path) -> String {
    let output = Command::new(program).arg("--version").output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("").to_owned());
    said.unwrap_or_else(|_| "not installed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_tells_whether_others_work() {
        let machine = |start: &str, end: &str| {
            let facts = [("cores", "2"), ("load at start", start), ("load at end", end)];
            Machine(facts.map(|(name, value)| (name, value.to_owned())).into())
        };
        assert!(!machine("0.10 0.20 0.30 1/99 7", "1.90 1 1 1/99 8").is_busy());
        assert!(machine("6.10 7.20 7.30 1/99 7", "1.90 1 1 1/99 8").is_busy());
        assert!(machine("0.10 0.20 0.30 1/99 7", "7.00 1 1 1/99 8").is_busy());
    }
}
