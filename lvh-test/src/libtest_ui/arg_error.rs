//! The parser's complaints in libtest's words.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Why the harness does not run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The user asked for the help, which this is.
    Help(String),
    /// The arguments are wrong; in libtest's words.
    Usage(String),
}

/// What to tell the user instead of clap's own text.
pub(crate) fn refusal(error: &clap::Error) -> Refusal {
    match error.kind() {
        ErrorKind::DisplayHelp => Refusal::Help(error.render().to_string()),
        _ => Refusal::Usage(in_libtest_words(error).unwrap_or_else(|| first_line(error))),
    }
}

fn in_libtest_words(error: &clap::Error) -> Option<String> {
    let option = option_name(context(error, ContextKind::InvalidArg)?);
    let value = context(error, ContextKind::InvalidValue).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => Some(format!("Unrecognized option: '{option}'")),
        ErrorKind::ArgumentConflict => Some(format!("Option '{option}' given more than once")),
        ErrorKind::TooManyValues => Some(format!("Option '{option}' does not take an argument")),
        ErrorKind::InvalidValue if value.is_empty() => Some(format!("Argument to option '{option}' missing")),
        ErrorKind::InvalidValue => invalid_value(option, value),
        // Our own value parser's text.
        ErrorKind::ValueValidation => std::error::Error::source(error).map(ToString::to_string),
        _ => None,
    }
}

fn invalid_value(option: &str, value: &str) -> Option<String> {
    match (option, value) {
        ("format", "junit") => Some("the junit format is not supported; cargo-nextest writes JUnit reports".to_owned()),
        ("format", _) => Some(format!("argument for --format must be pretty, terse, json or junit (was {value})")),
        ("color", _) => Some(format!("argument for --color must be auto, always, or never (was {value})")),
        ("Z", _) => Some("Unrecognized option to `Z`".to_owned()),
        _ => None,
    }
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text),
        _ => None,
    }
}

/// `format` of `--format <pretty|terse|json>`.
fn option_name(shown: &str) -> &str {
    let name = shown.trim_start_matches('-');
    name.split([' ', '=']).next().unwrap_or(name)
}

fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}
