//! What was found of one part of the machine.

use std::collections::BTreeMap;

use super::calls;

/// The names of what a part of the machine holds, and how each is.
pub type Facts = BTreeMap<String, String>;

/// The first word of each line of `file` below its heading.
pub fn first_words(file: &str, heading: usize) -> Facts {
    let text = calls::read(file).unwrap_or_default();
    text.lines()
        .skip(heading)
        .filter_map(|line| Some((line.split_whitespace().next()?.to_owned(), String::new())))
        .collect()
}
