//! An order of attributes that rstest accepts and that loses tests.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::Attribute;
use syn::parse::Parser;

use crate::errors::Errors;
use crate::function::TestFn;

/// Refuses `#[rstest] #[lvh::test] #[case(1)] #[case(2)]`.
///
/// rstest gives an attribute that stands above a `#[case]` to that case alone; the others become plain functions, which
/// nobody runs. All we get to see is one case with its values in the body. So what gives it away is where they stand
/// in the source: between our attribute and the name of the function.
pub(crate) fn check_order(function: &TestFn, errors: &mut Errors) {
    // Unit tests have no source to look at.
    if !proc_macro::is_available() || !is_in_source(Span::call_site()) || !is_renamed(&function.sig.ident) {
        return;
    }
    if any_between(function.body.clone(), Span::call_site(), function.sig.ident.span()) {
        errors.push(syn::Error::new(
            Span::call_site(),
            "`#[rstest]` gives an attribute above a `#[case]` to that case only, and the other cases would be lost; \
             write `#[test_attr(lvh::test)]`, or put `#[lvh::test]` right above the function",
        ));
    }
}

/// Whether our attribute stands in the source as such; that of `#[test_attr(lvh::test)]` is made by rstest.
fn is_in_source(span: Span) -> bool {
    let attributes = span.source_text().and_then(|text| Attribute::parse_outer.parse_str(&text).ok());
    let path = attributes.as_ref().and_then(|attributes| attributes.first()).map(Attribute::path);
    path.and_then(|path| path.segments.last()).is_some_and(|last| last.ident == "test")
}

/// Whether the function is one case of several: it is called `case_1` where the source has the name of them all.
fn is_renamed(name: &Ident) -> bool {
    name.span().source_text().is_some_and(|text| name != &text)
}

/// Whether a token, or one inside a group, stands between two places of one file.
fn any_between(tokens: TokenStream, from: Span, to: Span) -> bool {
    tokens.into_iter().any(|token| {
        is_between(token.span(), from, to)
            || matches!(token, TokenTree::Group(group) if any_between(group.stream(), from, to))
    })
}

fn is_between(span: Span, from: Span, to: Span) -> bool {
    let is_ordered = place(from) < place(span) && place(span) < place(to);
    is_ordered && [from, to].iter().all(|end| end.unwrap().file() == span.unwrap().file())
}

/// Line and column.
fn place(span: Span) -> (usize, usize) {
    let span = span.unwrap();
    (span.line(), span.column())
}
