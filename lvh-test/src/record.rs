//! What guest mode tells the host over the report pipe, and how it is written.
//!
//! One record is one line: a keyword, then its fields, apart by tabs; tabs, line ends and backslashes within a field
//! are escaped. A line also *starts* with a line end, so that whatever else the test's code writes to the pipe (it may
//! have found the descriptor) spoils at most itself. What cannot be read becomes [`Record::Malformed`].

/// One thing that guest mode reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// Some thread panicked; the test may yet go on. From the panic hook.
    Panic {
        /// The text, as far as the payload is one.
        message: String,
        /// `FILE:LINE:COLUMN`.
        location: String,
    },
    /// The test asked to be skipped.
    Skip {
        /// Why.
        reason: String,
    },
    /// The body returned success.
    Passed,
    /// The body returned, but not success: the code, where it could be read.
    Failed(Option<u8>),
    /// The body ended by unwinding.
    Unwound(Payload),
    /// The test's thread is gone, and the body did not end: something killed it alone.
    Died,
    /// Where one of its threads is, when it was asked.
    Stack {
        /// The thread, for people.
        thread: String,
        /// Innermost first: a function each, and the place where that is known.
        frames: Vec<String>,
    },
    /// All has been told of where its threads are.
    Explained,
    /// A line that is none of ours.
    Malformed(String),
}

/// What a panic carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payload {
    /// The text of `panic!`.
    Text(String),
    /// Something else, by its `TypeId` as libtest prints it.
    Other(String),
}

impl Record {
    /// The record as it goes into the pipe.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let fields: &[&str] = match self {
            Self::Panic { message, location } => &["panic", message, location],
            Self::Skip { reason } => &["skip", reason],
            Self::Passed => &["passed"],
            Self::Failed(None) => &["failed"],
            Self::Failed(Some(code)) => &["failed", &code.to_string()],
            Self::Died => &["died"],
            Self::Stack { thread, frames } => &["stack", thread, &frames.join("\n")],
            Self::Explained => &["explained"],
            Self::Unwound(Payload::Text(text)) => &["unwound", "text", text],
            Self::Unwound(Payload::Other(type_id)) => &["unwound", "other", type_id],
            Self::Malformed(line) => &[line],
        };
        let fields: Vec<String> = fields.iter().map(|field| escape(at_most(FIELD_LIMIT, field))).collect();
        format!("\n{}\n", fields.join("\t")).into_bytes()
    }

    /// All records in what came out of the pipe.
    pub(crate) fn decode_all(bytes: &[u8]) -> Vec<Self> {
        let text = String::from_utf8_lossy(bytes);
        text.split('\n').filter(|line| !line.is_empty()).map(Self::decode).collect()
    }

    fn decode(line: &str) -> Self {
        let fields: Option<Vec<String>> = line.split('\t').map(unescape).collect();
        let fields = fields.unwrap_or_default();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        match fields[..] {
            ["panic", message, location] => Self::Panic { message: message.into(), location: location.into() },
            ["skip", reason] => Self::Skip { reason: reason.into() },
            ["passed"] => Self::Passed,
            ["failed"] => Self::Failed(None),
            ["failed", code] if code.parse::<u8>().is_ok() => Self::Failed(code.parse().ok()),
            ["died"] => Self::Died,
            ["stack", thread, frames] => {
                Self::Stack { thread: thread.into(), frames: frames.lines().map(str::to_owned).collect() }
            }
            ["explained"] => Self::Explained,
            ["unwound", "text", text] => Self::Unwound(Payload::Text(text.into())),
            ["unwound", "other", type_id] => Self::Unwound(Payload::Other(type_id.into())),
            _ => Self::Malformed(line.to_owned()),
        }
    }

    /// Whether the record says how the body ended.
    pub(crate) fn is_final(&self) -> bool {
        !matches!(self, Self::Panic { .. } | Self::Stack { .. } | Self::Explained | Self::Malformed(_))
    }
}

/// The most of a field that is sent, in bytes: a panic's message may be of any length.
const FIELD_LIMIT: usize = 64 << 10;

/// As much of the text as fits into so many bytes.
pub(crate) fn at_most(bytes: usize, text: &str) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or_default()]
}

fn escape(field: &str) -> String {
    field.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t")
}

/// The reverse of [`escape`]; `None` where a backslash stands before something that it never writes.
fn unescape(field: &str) -> Option<String> {
    let mut plain = String::with_capacity(field.len());
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                't' => '\t',
                '\\' => '\\',
                _ => return None,
            },
            c => c,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::{FIELD_LIMIT, Payload, Record};

    #[track_caller]
    fn check_round_trip(record: Record) {
        assert_eq!(Record::decode_all(&record.encode()), [record]);
    }

    #[test]
    fn every_record_survives_the_pipe() {
        check_round_trip(Record::Passed);
        check_round_trip(Record::Failed(None));
        check_round_trip(Record::Failed(Some(7)));
        check_round_trip(Record::Died);
        check_round_trip(Record::Explained);
        check_round_trip(Record::Stack { thread: "t".into(), frames: vec!["a at b:1".into(), "c".into()] });
        check_round_trip(Record::Stack { thread: "t".into(), frames: Vec::new() });
        check_round_trip(Record::Skip { reason: "needs\ttab \\n and \n newline".into() });
        check_round_trip(Record::Panic { message: String::new(), location: "a.rs:1:2".into() });
        check_round_trip(Record::Unwound(Payload::Text("ä\\".into())));
        check_round_trip(Record::Unwound(Payload::Other("TypeId(0x1)".into())));
    }

    #[test]
    fn foreign_bytes_spoil_only_themselves() {
        let mut bytes = b"garbage \xff without end".to_vec();
        bytes.extend(Record::Passed.encode());
        let records = Record::decode_all(&bytes);
        assert_eq!(records, [Record::Malformed("garbage \u{fffd} without end".into()), Record::Passed]);
    }

    #[test]
    fn bad_escapes_and_missing_fields_are_malformed() {
        for line in
            ["skip\t\\x", "skip\t\\", "skip", "panic\tonly one", "passed\textra", "failed\t256", "unwound\tnone\tx"]
        {
            assert_eq!(Record::decode_all(line.as_bytes()), [Record::Malformed(line.into())]);
        }
    }

    #[test]
    fn a_long_message_loses_its_end() {
        let panic = |message: String| Record::Panic { message, location: "a.rs:1:2".into() };
        let sent = panic("\t".repeat(FIELD_LIMIT - 1) + "ä and more");
        assert_eq!(Record::decode_all(&sent.encode()), [panic("\t".repeat(FIELD_LIMIT - 1))]);
        check_round_trip(panic("x".repeat(FIELD_LIMIT)));
    }
}
