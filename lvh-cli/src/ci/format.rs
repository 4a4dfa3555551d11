use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::filter::exactly;
use super::shard::Shard;
use crate::listing::Place;

/// Whose JSON it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For `strategy.matrix` of GitHub Actions, on one line: {"include": [{"shard": .., "filter": ..}]}
    Github,
    /// For a job of GitLab, whose variables are SHARD, SHARD_KERNELS and SHARD_FILTER: {"parallel": {"matrix": [..]}}
    Gitlab,
    /// {"shards": [{"shard": .., "filter": .., "test_names": [..]}]}
    Plain,
}

/// How long the name of a GitLab job may be, which has the values of its matrix in it.
const GITLAB_NAME: usize = 255;

/// The shards as text, and what the user should know.
pub(super) fn rendered(shards: &[Shard<'_>], format: Format) -> (String, Vec<String>) {
    match format {
        Format::Github => {
            let include: Vec<Value> = shards.iter().map(entry).collect();
            (format!("{}\n", json!({"include": include})), Vec::new())
        }
        Format::Gitlab => {
            let matrix: Vec<Value> = shards.iter().map(gitlab_entry).collect();
            let too_long = matrix.iter().any(|entry| entry.to_string().len() > GITLAB_NAME);
            let note = too_long.then(|| {
                format!(
                    "GitLab has the values of a matrix in the names of its jobs, which have {GITLAB_NAME} characters at most: some \
                     filters are too long; `lvh ci workflow gitlab` shows a way without them"
                )
            });
            (pretty(&json!({"parallel": {"matrix": matrix}})), note.into_iter().collect())
        }
        Format::Plain => {
            let with_names = |shard: &Shard<'_>| {
                let mut entry = entry(shard);
                let names = shard.tests.iter().map(|test| json!([test.binary.name(), test.name]));
                entry["test_names"] = names.collect();
                entry
            };
            (pretty(&json!({"shards": shards.iter().map(with_names).collect::<Vec<_>>()})), Vec::new())
        }
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn entry(shard: &Shard<'_>) -> Value {
    json!({
        "shard": shard.name,
        "kernels": words(shard, |place| Some(place.kernel.clone())),
        "images": words(shard, |place| place.image.clone()),
        "tests": shard.tests.len(),
        "seconds": (shard.seconds * 1000.0).round() / 1000.0,
        "filter": exactly(&shard.tests),
    })
}

fn gitlab_entry(shard: &Shard<'_>) -> Value {
    json!({
        "SHARD": shard.name,
        "SHARD_KERNELS": words(shard, |place| Some(place.kernel.clone())),
        "SHARD_FILTER": exactly(&shard.tests),
    })
}

/// What of places there is in a shard, with blanks between.
fn words(shard: &Shard<'_>, word: impl Fn(&Place) -> Option<String>) -> String {
    let words: BTreeSet<String> = shard.tests.iter().flat_map(|test| &test.places).filter_map(word).collect();
    words.into_iter().collect::<Vec<_>>().join(" ")
}
