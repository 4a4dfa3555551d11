//! The function under the attribute.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Attribute, Error, FnArg, GenericParam, Ident, Result, ReturnType, Safety, Signature, Type, Visibility};

use crate::errors::Errors;

/// A function; its body stays as the author's tokens, so that half-typed code reaches the compiler and the IDE.
pub(crate) struct TestFn {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) body: TokenStream,
}

impl Parse for TestFn {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let start = input.fork();
        let sig = input.parse::<Signature>().map_err(|error| not_a_function(&start).unwrap_or(error))?;
        match input.peek(syn::token::Brace) {
            true => Ok(Self { attrs, vis, sig, body: input.parse()? }),
            false => Err(Error::new(sig.span(), "a test function needs a body")),
        }
    }
}

impl ToTokens for TestFn {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self { attrs, vis, sig, body } = self;
        tokens.extend(quote!(#(#attrs)* #vis #sig #body));
    }
}

impl TestFn {
    /// Refuses what cannot be called without arguments.
    pub(crate) fn check_signature(&self, errors: &mut Errors) {
        self.check_qualifiers(errors);
        self.check_arguments(errors);
        for param in &self.sig.generics.params {
            // Like libtest: lifetimes do no harm, and rstest passes them on.
            if !matches!(param, GenericParam::Lifetime(_)) {
                errors.at(param, "test functions have no generic parameters");
            }
        }
    }

    /// Whether it returns nothing, or never.
    pub(crate) fn returns_unit(&self) -> bool {
        match &self.sig.output {
            ReturnType::Default => true,
            ReturnType::Type(_, ty) => match &**ty {
                Type::Tuple(tuple) => tuple.elems.is_empty(),
                Type::Never(_) => true,
                _ => false,
            },
        }
    }

    fn check_qualifiers(&self, errors: &mut Errors) {
        if let Some(token) = &self.sig.constness {
            errors.at(token, "test functions cannot be `const`");
        }
        if let Safety::Unsafe(token) = &self.sig.safety {
            errors.at(token, "test functions cannot be `unsafe`; use an `unsafe` block in the body");
        }
        if let Some(abi) = &self.sig.abi {
            errors.at(abi, "test functions have no other ABI than Rust's");
        }
    }

    fn check_arguments(&self, errors: &mut Errors) {
        match self.sig.inputs.first() {
            None => {}
            Some(FnArg::Receiver(receiver)) => {
                errors.at(receiver, "test functions are free functions: move this one out of its `impl` or `trait`");
            }
            Some(FnArg::Typed(_)) => errors.at(
                &self.sig.inputs,
                "test functions take no arguments; for cases use `#[rstest]` with `#[test_attr(lvh::test)]` below it",
            ),
        }
    }
}

/// Says what stands there instead of a function.
fn not_a_function(start: ParseStream<'_>) -> Option<Error> {
    const ITEMS: [&str; 10] = ["mod", "struct", "enum", "union", "trait", "impl", "type", "static", "const", "use"];
    let keyword = Ident::parse_any(start).ok()?;
    let is_item = ITEMS.iter().any(|item| keyword == item) && !start.peek(syn::Token![fn]);
    let advice = if keyword == "mod" { "; put the attribute on each test function inside" } else { "" };
    let message = format!("`#[lvh::test]` goes on a function, this is `{keyword}`{advice}");
    is_item.then(|| Error::new(keyword.span(), message))
}
