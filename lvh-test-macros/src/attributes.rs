//! The other attributes of the function: those we act on, those we pass on, those that would lose the test.

use syn::{Attribute, Expr, ExprLit, Lit, Meta, MetaNameValue, Path, Result};

use crate::errors::Errors;
use crate::function::TestFn;

/// What the attributes beside ours say.
#[derive(Default)]
pub(crate) struct Marks {
    /// `#[ignore]`, as written.
    pub(crate) ignore: Option<Mark>,
    /// `#[should_panic]`, as written.
    pub(crate) should_panic: Option<Mark>,
    /// An attribute such as `#[tokio::main]` runs the future: the function is not `async` any more.
    pub(crate) has_runtime: bool,
}

/// `#[ignore]` or `#[should_panic]`.
pub(crate) struct Mark {
    pub(crate) attribute: Attribute,
    /// The reason or the expected text, empty where there is none.
    pub(crate) text: String,
}

impl Marks {
    /// Takes off the function what must not stay on it.
    pub(crate) fn take(function: &mut TestFn, errors: &mut Errors) -> Self {
        let mut marks = Self::default();
        let attrs = std::mem::take(&mut function.attrs);
        function.attrs = attrs.into_iter().filter_map(|attribute| marks.sort(attribute, errors)).collect();
        if let Some(mark) = marks.should_panic.as_ref().filter(|_| !function.returns_unit()) {
            errors.at(&mark.attribute, "functions with `#[should_panic]` return `()`");
        }
        marks
    }

    /// Returns the attribute if it stays on the function.
    fn sort(&mut self, attribute: Attribute, errors: &mut Errors) -> Option<Attribute> {
        let path = attribute.path();
        if path.is_ident("ignore") {
            set(&mut self.ignore, attribute, ignore_reason, errors);
        } else if path.is_ident("should_panic") {
            set(&mut self.should_panic, attribute, expected_text, errors);
        } else if is_std_test(path) {
            // `test_log::test` adds it above ours, where rustc would drop the whole item.
        } else if let Some(advice) = advice_against(path) {
            let name = display(path);
            errors.at(&attribute, format!("`#[{name}]` cannot be combined with `#[lvh::test]`: {advice}"));
        } else {
            self.has_runtime |= path.segments.len() > 1 && ends_with(path, "main");
            return Some(attribute);
        }
        None
    }
}

fn set(slot: &mut Option<Mark>, attribute: Attribute, read: fn(&Meta) -> Result<String>, errors: &mut Errors) {
    if let Some(earlier) = slot {
        errors.at(&attribute, format!("`#[{}]` is given twice", display(attribute.path())));
        errors.at(&earlier.attribute, "first given here");
    } else if let Some(text) = errors.take(read(&attribute.meta)) {
        *slot = Some(Mark { attribute, text });
    }
}

/// `#[ignore]`, `#[ignore = "reason"]`.
fn ignore_reason(meta: &Meta) -> Result<String> {
    match meta {
        Meta::Path(_) => Some(String::new()),
        Meta::NameValue(pair) => string(pair),
        Meta::List(_) => None,
    }
    .ok_or_else(|| syn::Error::new_spanned(meta, "expected `#[ignore]` or `#[ignore = \"reason\"]`"))
}

/// `#[should_panic]`, `#[should_panic = "text"]`, `#[should_panic(expected = "text")]`.
fn expected_text(meta: &Meta) -> Result<String> {
    match meta {
        Meta::Path(_) => Some(String::new()),
        Meta::NameValue(pair) => string(pair),
        Meta::List(list) => list.parse_args().ok().and_then(|pair: MetaNameValue| {
            let is_expected = pair.path.is_ident("expected");
            string(&pair).filter(|_| is_expected)
        }),
    }
    .ok_or_else(|| {
        syn::Error::new_spanned(meta, "expected `#[should_panic]` or `#[should_panic(expected = \"text\")]`")
    })
}

fn string(pair: &MetaNameValue) -> Option<String> {
    match &pair.value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

/// Attributes that make a test of their own out of the function, by the end of their path, and what to write instead.
///
/// What they make is a plain `#[test]`, which rustc drops where `harness = false`: the test would be lost in silence.
const FOREIGN: &[(&str, &str)] = &[
    ("test_fork::test", FORK),
    ("fork", FORK),
    ("tag", "put it above `#[lvh::test]`, so that its tags become part of the test's name"),
    ("gtest", "put it above `#[lvh::test]`"),
    ("test_context", "put it above `#[lvh::test]`"),
    ("parameterized", "put it in its place and write `#[parameterized_macro(lvh::test)]` below that"),
    ("tokio::test", "write `#[lvh::test] async fn` and remove it"),
    ("test_log::test", "write `#[test_log::test(lvh::test)]` instead of both"),
    ("rstest", RSTEST),
    ("case", RSTEST),
    ("test_attr", RSTEST),
    ("test_case", "for cases use `#[rstest]` with `#[test_attr(lvh::test)]` below it"),
    ("bench", "a benchmark is no test"),
    ("lvh::test", "write one of them, with all options"),
    ("test", "remove it"),
];

const FORK: &str = "remove it, for each `#[lvh::test]` has a process of its own";

const RSTEST: &str = "put `#[rstest]` in its place and write `#[test_attr(lvh::test)]` below that";

fn advice_against(path: &Path) -> Option<&'static str> {
    FOREIGN.iter().find(|(name, _)| ends_with(path, name)).map(|(_, advice)| *advice)
}

/// `::core::prelude::v1::test`, as other macros write it.
fn is_std_test(path: &Path) -> bool {
    ["core::prelude::v1::test", "std::prelude::v1::test"].iter().any(|name| ends_with(path, name))
}

fn ends_with(path: &Path, name: &str) -> bool {
    let path = format!("::{}", display(path));
    path.ends_with(&format!("::{name}"))
}

fn display(path: &Path) -> String {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>().join("::")
}
