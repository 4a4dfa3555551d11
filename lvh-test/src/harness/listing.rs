//! `--list`, in libtest's three forms.

use std::fmt::Write;
use std::sync::Arc;

use super::args::Format;
use super::instance::Instance;
use super::json;

/// The whole listing.
pub(crate) fn listing(instances: &[Arc<Instance>], format: Format) -> String {
    match format {
        Format::Json => json::discovery(instances),
        Format::Terse => lines(instances),
        Format::Pretty => lines(instances) + &total(instances.len()),
    }
}

fn lines(instances: &[Arc<Instance>]) -> String {
    let mut text = String::new();
    for instance in instances {
        let _ = writeln!(text, "{}: test", instance.name);
    }
    text
}

fn total(count: usize) -> String {
    let gap = if count == 0 { "" } else { "\n" };
    let noun = if count == 1 { "test" } else { "tests" };
    format!("{gap}{count} {noun}, 0 benchmarks\n")
}
