//! Filters of cargo-nextest ("Filterset DSL reference" of its documentation).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::listing::{Binary, Test};
use crate::terminal;

const EXAMPLES: &str = "\
Example:
  cargo nextest run --archive-file tests.tar.zst -E \"$(lvh ci filter shards.json 2)\"";

/// Print the filter of one shard of what `lvh ci matrix` printed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What `lvh ci matrix --format plain` printed
    file: PathBuf,
    /// The shard's name, or its number from 1
    shard: String,
}

#[derive(Deserialize)]
struct Document {
    shards: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    shard: String,
    filter: String,
}

/// What no test matches: a machine too many has nothing to do.
const NOTHING: &str = "none()";

/// Prints it. A number above that of the shards gets a filter that nothing matches: CI systems have a fixed number of machines.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let failed = || format!("failed to read the shards of `{}`", args.file.display());
    let text = std::fs::read(&args.file).with_context(failed)?;
    let Document { shards } = serde_json::from_slice(&text).with_context(failed)?;
    let number = args.shard.parse::<usize>().ok();
    let named = shards.iter().find(|entry| entry.shard == args.shard);
    let entry = named.or_else(|| shards.get(number?.checked_sub(1)?));
    let filter = match (entry, number) {
        (Some(entry), _) => entry.filter.as_str(),
        (None, Some(1..)) => NOTHING,
        (None, _) => {
            let known = shards.iter().map(|entry| entry.shard.as_str()).collect::<Vec<_>>().join(", ");
            bail!("there is no shard `{}` (known: {known})", args.shard)
        }
    };
    terminal::output(&format!("{filter}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// What matches these tests, and no others.
pub(super) fn exactly(tests: &[&Test]) -> String {
    let mut binaries: BTreeMap<&Binary, Vec<&str>> = BTreeMap::new();
    for test in tests {
        binaries.entry(&test.binary).or_default().push(&test.name);
    }
    let of_binary = |(binary, tests): (&Binary, Vec<&str>)| {
        let names: Vec<String> = tests.iter().map(|name| format!("test(={})", escaped(name))).collect();
        let binary = match binary {
            Binary::Id(id) => format!("binary_id(={})", escaped(id)),
            Binary::Name(name) => format!("binary(={})", escaped(name)),
        };
        format!("({binary} & ({}))", names.join(" | "))
    };
    binaries.into_iter().map(of_binary).collect::<Vec<_>>().join(" | ")
}

fn escaped(name: &str) -> String {
    name.chars().fold(String::with_capacity(name.len()), |mut text, c| {
        if matches!(c, '\\' | ')' | ',' | '/') {
            text.push('\\');
        }
        text.push(c);
        text
    })
}

#[cfg(test)]
mod tests {
    use super::super::times::tests::test;
    use super::{Binary, Test, exactly};

    #[test]
    fn a_filter_names_each_test() {
        let check = |tests: &[Test], expected: &str| assert_eq!(exactly(&tests.iter().collect::<Vec<_>>()), expected);
        check(&[test("p::it", "a::6.12"), test("p::it", "b")], "(binary_id(=p::it) & (test(=a::6.12) | test(=b)))");
        let of_lone = Test { binary: Binary::Name("it".into()), ..test("", "a::6.12+.//x)") };
        check(&[of_lone, test("p", "c")], r"(binary_id(=p) & (test(=c))) | (binary(=it) & (test(=a::6.12+.\/\/x\))))");
    }
}
