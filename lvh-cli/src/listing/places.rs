//! What test binaries say of the kernels and images of their tests: `lvh-test` writes it where `LVH_PLACES` says.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::nextest::Suite;
use super::{Listing, Place, Test};

/// A line of what a binary writes.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Error { error: String },
    Instance(Instance),
}

/// A test on one kernel and root.
#[derive(Debug, Deserialize)]
struct Instance {
    name: String,
    path: String,
    shadows: Vec<String>,
    kernel: Option<String>,
    image: Option<String>,
}

impl Instance {
    fn place(&self) -> Option<Place> {
        self.kernel.clone().map(|kernel| Place { kernel, image: self.image.clone() })
    }
}

/// Asks each binary that is there; of others, names tell.
pub(super) fn ask(suites: Vec<Suite>) -> anyhow::Result<Listing> {
    let mut listing = Listing::default();
    for suite in suites.into_iter().filter(|suite| !suite.tests.is_empty()) {
        let instances = if suite.path.is_file() { instances(&suite)? } else { Vec::new() };
        for name in suite.tests {
            let test = test(&suite.binary, name, &instances);
            listing.places.extend(test.places.iter().map(|place| (suite.cwd.clone(), place.clone())));
            listing.tests.push(test);
        }
    }
    Ok(listing)
}

/// The instances that nextest's test of that name runs: Rust's own harness has one for all kernels of `lvh.toml`.
fn test(binary: &super::Binary, name: String, instances: &[Instance]) -> Test {
    let those = |of: &dyn Fn(&Instance) -> bool| instances.iter().filter(|instance| of(instance)).collect::<Vec<_>>();
    let known: [&dyn Fn(&Instance) -> bool; 3] =
        [&|instance| instance.name == name, &|instance| instance.shadows.contains(&name), &|instance| {
            instance.path == name
        }];
    let found = known.iter().map(|of| those(of)).find(|found| !found.is_empty()).unwrap_or_default();
    let mut places: Vec<Place> = match instances.is_empty() {
        true => Place::of_name(&name).into_iter().collect(),
        false => found.iter().filter_map(|instance| instance.place()).collect(),
    };
    places.sort();
    let aliases = found.iter().map(|instance| instance.name.clone()).filter(|alias| *alias != name).collect();
    Test { binary: binary.clone(), name, aliases, places }
}

/// Those of a binary; none where it is not lvh's.
fn instances(suite: &Suite) -> anyhow::Result<Vec<Instance>> {
    let file = tempfile::NamedTempFile::new().context("failed to make a temporary file")?;
    let status = lister(&suite.path, &suite.cwd).env("LVH_PLACES", file.path()).stdout(Stdio::null()).status();
    // What cannot be listed here is no test binary of ours: nextest has listed it.
    let text = status.and_then(|_| std::fs::read_to_string(file.path())).unwrap_or_default();
    let wrong = || format!("failed to read what `{}` says of its kernels", suite.path.display());
    let mut instances = Vec::new();
    for line in text.lines() {
        match serde_json::from_str(line).with_context(wrong)? {
            Line::Instance(instance) => instances.push(instance),
            Line::Error { error } => bail!("{error}"),
        }
    }
    Ok(instances)
}

/// The tests that a binary lists itself, but those that are ignored.
pub(super) fn names(binary: &Path, cwd: &Path) -> anyhow::Result<Vec<String>> {
    let failed = || format!("`{} --list` failed", binary.display());
    let list = |arguments: &[&str]| -> anyhow::Result<Vec<String>> {
        let output = lister(binary, cwd).args(arguments).output().with_context(failed)?;
        if !output.status.success() {
            bail!("{} ({}): {}", failed(), output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        let text = String::from_utf8(output.stdout).with_context(failed)?;
        Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    };
    let ignored = list(&["--ignored"])?;
    Ok(list(&[])?.into_iter().filter(|name| !ignored.contains(name)).collect())
}

/// As cargo and nextest start it, as far as its configuration goes.
fn lister(binary: &Path, cwd: &Path) -> Command {
    let mut command = Command::new(binary);
    command.args(["--list", "--format", "terse"]).stdin(Stdio::null()).stderr(Stdio::piped());
    if cwd.is_dir() {
        command.current_dir(cwd).env("CARGO_MANIFEST_DIR", cwd);
    }
    command.env_remove("NEXTEST").env_remove("LVH_PLACES");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"
{"name": "a::6.1", "path": "a", "shadows": ["a::v6_1"], "kernel": "6.1", "image": null}
{"name": "a::7.x", "path": "a", "shadows": ["a::v7_x"], "kernel": "7.x", "image": null}
{"name": "b", "path": "b", "shadows": ["b::mine_base", "b::on_base"], "kernel": "mine", "image": "base"}
{"name": "h", "path": "h", "shadows": [], "kernel": null, "image": null}"#;

    #[test]
    fn tests_have_places() {
        let instances: Vec<Instance> = LINES.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
        let check = |instances: &[Instance], name: &str, expected: &str, aliases: &[&str]| {
            let test = test(&super::super::Binary::Id("p::it".into()), name.to_owned(), instances);
            let places: Vec<_> = test.places.iter().map(ToString::to_string).collect();
            assert_eq!(
                (places.join(" ").as_str(), test.aliases),
                (expected, aliases.iter().map(|&a| a.into()).collect())
            );
        };
        check(&instances, "a::7.x", "7.x", &[]);
        check(&instances, "a::v6_1", "6.1", &["a::6.1"]);
        check(&instances, "a", "6.1 7.x", &["a::6.1", "a::7.x"]);
        check(&instances, "b", "mine+base", &[]);
        check(&instances, "b::on_base", "mine+base", &["b"]);
        check(&instances, "h", "", &[]);
        check(&instances, "other::6.1", "", &[]);
        check(&[], "other::6.1", "6.1", &[]);
    }
}
