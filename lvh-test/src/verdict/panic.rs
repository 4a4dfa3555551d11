//! The panic that ended a test, of all that it reported.

use crate::job::Panic;
use crate::record::Record;

/// The panic that ended a test; `None` where it ended otherwise, for a test may catch panics. Of several, the last
/// in code of the workspace, whose paths are relative; those of the library and of dependencies are absolute.
pub(super) fn panic_of(records: &[Record]) -> Option<Panic> {
    match records.iter().rev().find(|record| record.is_final()) {
        Some(Record::Unwound(_)) | None => {}
        Some(_) => return None,
    }
    let panics: Vec<Panic> = records.iter().rev().filter_map(from_record).collect();
    let mut ours = panics.iter().filter(|panic| !panic.file.starts_with('/'));
    let last = ours.next();
    let thrown = ours.next().filter(|_| last.is_some_and(passes_on));
    thrown.or(last).or(panics.first()).cloned()
}

/// `thread.join().unwrap()`: another thread panicked before, and has said why.
fn passes_on(panic: &Panic) -> bool {
    panic.message.ends_with(": Any { .. }")
}

fn from_record(record: &Record) -> Option<Panic> {
    let Record::Panic { message, location } = record else { return None };
    let (rest, _column) = location.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    Some(Panic { message: message.clone(), file: file.to_owned(), line: line.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::panic_of;
    use crate::record::{Payload, Record};

    #[track_caller]
    fn check(records: &[Record], expected: Option<(&str, u32)>) {
        let panic = panic_of(records);
        assert_eq!(panic.as_ref().map(|panic| (panic.file.as_str(), panic.line)), expected);
    }

    fn at(location: &str) -> Record {
        Record::Panic { message: "m".into(), location: location.into() }
    }

    #[test]
    fn the_panic_that_ended_the_test() {
        let unwound = Record::Unwound(Payload::Text("m".into()));
        check(&[at("a.rs:1:2"), at("b:c.rs:3:4"), unwound.clone()], Some(("b:c.rs", 3)));
        check(&[at("a.rs:1:2"), at("/rustc/x/core.rs:3:4"), unwound.clone()], Some(("a.rs", 1)));
        check(&[at("/rustc/x/core.rs:3:4"), unwound.clone()], Some(("/rustc/x/core.rs", 3)));
        let any = "called `Result::unwrap()` on an `Err` value: Any { .. }";
        let joined = Record::Panic { message: any.into(), location: "a.rs:9:1".into() };
        check(&[at("a.rs:1:2"), joined.clone(), unwound.clone()], Some(("a.rs", 1)));
        check(&[joined, unwound.clone()], Some(("a.rs", 9)));
        check(&[at("a.rs:1:2")], Some(("a.rs", 1)));
        check(&[at("a.rs:1:2"), Record::Failed(None)], None);
        check(&[at("nonsense"), at("a.rs:x:1"), unwound], None);
    }
}
