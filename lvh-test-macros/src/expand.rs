//! What the attribute becomes.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, FnArg, LitStr, Path, ReturnType, Visibility, parse_quote};

use crate::args::Args;
use crate::attributes::{Mark, Marks};
use crate::errors::Errors;
use crate::function::TestFn;
use crate::rstest;

/// The whole way of one attribute.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = Args::parse(args, &mut errors);
    let Some(mut function) = errors.take(syn::parse2::<TestFn>(item.clone())) else {
        let errors = errors.into_compile_errors();
        return quote!(#errors #[allow(unused)] #item);
    };
    let marks = Marks::take(&mut function, &mut errors);
    function.check_signature(&mut errors);
    check_runtime(&function, &marks, &args, &mut errors);
    rstest::check_order(&function, &mut errors);
    match errors.into_compile_errors() {
        None => accepted(&function, &marks, &args),
        Some(errors) => refused(function, errors),
    }
}

fn check_runtime(function: &TestFn, marks: &Marks, args: &Args, errors: &mut Errors) {
    let Some(runtime) = args.runtime() else { return };
    if function.sig.asyncness.is_none() {
        errors.at(runtime, "`runtime` is for `async` functions");
    } else if marks.has_runtime {
        errors.at(runtime, "the function has a runtime by another attribute; keep one");
    }
}

/// The function and its registration, out of everyone's way, and the shadow.
fn accepted(function: &TestFn, marks: &Marks, args: &Args) -> TokenStream {
    let lvh = args.crate_path().cloned().unwrap_or_else(|| parse_quote!(::lvh));
    let TestFn { attrs, sig, body, .. } = function;
    let registration = registration(&lvh, function, marks, args);
    let shadow = shadow(&lvh, function, marks, args);
    quote! {
        const _: () = {
            #(#attrs)*
            #sig #body
            #registration
        };
        #shadow
    }
}

fn registration(lvh: &Path, function: &TestFn, marks: &Marks, args: &Args) -> TokenStream {
    // Like libtest, which keeps the `r#` of a raw name.
    let name = function.sig.ident.to_string();
    let run = run(lvh, function, marks, args);
    let options = options(lvh, marks, args);
    quote! {
        #lvh::__private::submit! {
            #lvh::__private::TestCase {
                module: ::core::module_path!(),
                name: #name,
                file: ::core::file!(),
                line: ::core::line!(),
                target: #lvh::__private::cargo_target!(),
                built: #lvh::__private::build_place!(),
                run: || #run,
                options: #options,
            }
        }
    }
}

/// Calls the function; a return type that is no result of a test is underlined where it stands.
fn run(lvh: &Path, function: &TestFn, marks: &Marks, args: &Args) -> TokenStream {
    let name = &function.sig.ident;
    // The call stands inside `report`, not in its argument: a test that returns `!` would make `report` unreachable.
    let call = if function.sig.asyncness.is_none() || marks.has_runtime {
        quote!(#lvh::__private::report(#name))
    } else {
        let block_on = args.runtime().cloned().unwrap_or_else(|| parse_quote!(#lvh::__private::block_on));
        quote!(#lvh::__private::report(|| #block_on(#name())))
    };
    match &function.sig.output {
        ReturnType::Default => call,
        ReturnType::Type(_, result) => located_at(result.span(), call),
    }
}

/// Moves tokens to a place in the source; what their names mean stays.
fn located_at(place: Span, tokens: TokenStream) -> TokenStream {
    let moved = |mut token: TokenTree| {
        token.set_span(token.span().located_at(place));
        token
    };
    tokens.into_iter().map(moved).collect()
}

fn options(lvh: &Path, marks: &Marks, args: &Args) -> TokenStream {
    let (names, values): (Vec<_>, Vec<_>) =
        args.fields().map(|(name, value)| (Ident::new(name, Span::call_site()), value.expression(lvh))).unzip();
    let ignore = marks.ignore.as_ref().map(|Mark { text, .. }| quote!(ignore: ::core::option::Option::Some(#text),));
    let should_panic =
        marks.should_panic.as_ref().map(|Mark { text, .. }| quote!(should_panic: ::core::option::Option::Some(#text),));
    quote! {
        #lvh::__private::Options {
            #(#names: #values,)*
            #ignore
            #should_panic
            ..#lvh::__private::Options::DEFAULT
        }
    }
}

/// What IDEs offer to run, and what libtest, where it is not switched off, runs: a `#[test]` of the function's name,
/// or a module of that name with a `#[test]` for each of several kernels and images.
fn shadow(lvh: &Path, function: &TestFn, marks: &Marks, args: &Args) -> TokenStream {
    let (name, vis) = (&function.sig.ident, &function.vis);
    let visible = (!matches!(vis, Visibility::Inherited)).then(|| visible(name, vis));
    let lints: Vec<_> = function.attrs.iter().filter_map(lint_level).collect();
    let ignore = marks.ignore.as_ref().map(|mark| &mark.attribute);
    let test = |vis: Option<&Visibility>, name: &Ident, place: TokenStream| {
        let path = format!("::{name}");
        quote! {
            #[::core::prelude::v1::test]
            #(#lints)*
            #ignore
            #vis fn #name() {
                #lvh::__private::under_libtest(::core::concat!(::core::module_path!(), #path), #place)
            }
        }
    };
    match &places(args)[..] {
        [] | [_] => {
            let test = test(Some(vis), name, quote!(::core::option::Option::None));
            quote!(#test #visible)
        }
        places => {
            let tests = places.iter().map(|place| {
                let ident = Ident::new(&place_name(place), name.span());
                test(None, &ident, quote!(::core::option::Option::Some(#place)))
            });
            quote!(#(#lints)* mod #name { #(#tests)* } #visible)
        }
    }
}

/// Where the test runs, as far as the attribute says: `6.12`, `6.12+base`, or `+base` on whatever kernels there are.
fn places(args: &Args) -> Vec<String> {
    let kernels: Vec<String> = args.kernels().iter().map(LitStr::value).collect();
    let images: Vec<String> = args.images().iter().map(|image| format!("+{}", image.value())).collect();
    match (&kernels[..], &images[..]) {
        (kernels, []) => kernels.to_vec(),
        ([], images) => images.to_vec(),
        (kernels, images) => {
            kernels.iter().flat_map(|kernel| images.iter().map(move |image| format!("{kernel}{image}"))).collect()
        }
    }
}

/// A function of the name for who imports it, as test-tag does with what it makes of `#[tag(root)] #[lvh::test]`: without Rust's harness
/// rustc drops the shadow, and of several kernels it is a module. Where there is a shadow it goes before what is imported by `*`.
fn visible(name: &Ident, vis: &Visibility) -> TokenStream {
    let module = Ident::new(&format!("__lvh_{}", name.unraw()), Span::call_site());
    quote! {
        #[doc(hidden)]
        #[allow(non_snake_case, unreachable_pub, dead_code, missing_docs)]
        mod #module { pub fn #name() {} }
        #[doc(hidden)]
        #[allow(unused_imports, unreachable_pub)]
        #vis use #module::*;
    }
}

/// The name of a place as an identifier: `6.12` is `v6_12`, `bpf-next` is `bpf_next`, `6.12+base` is `v6_12_base`, `+base`
/// is `on_base`.
fn place_name(place: &str) -> String {
    let name = place.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    if place.starts_with('+') {
        return format!("on{name}");
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("v{name}") } else { name }
}

/// What the author allows for the name holds for the shadow, too; what they expect may not happen in it.
fn lint_level(attribute: &Attribute) -> Option<Attribute> {
    let mut lints = attribute.clone();
    if let syn::Meta::List(list) = &mut lints.meta
        && list.path.is_ident("expect")
    {
        list.path = parse_quote!(allow);
    }
    lints.path().is_ident("allow").then_some(lints)
}

/// The errors, and the function for the IDE to go on with, in a form that brings no further errors.
fn refused(mut function: TestFn, errors: TokenStream) -> TokenStream {
    for input in &mut function.sig.inputs {
        match input {
            FnArg::Receiver(receiver) => receiver.attrs.clear(),
            FnArg::Typed(argument) => argument.attrs.clear(),
        }
    }
    quote! {
        #errors
        #[allow(unused)]
        #function
    }
}

#[cfg(test)]
mod tests {
    use proc_macro2::TokenStream;
    use quote::quote;

    use super::expand;

    fn check(args: TokenStream, item: TokenStream, expected: TokenStream) {
        assert_eq!(expand(args, item).to_string(), expected.to_string());
    }

    #[test]
    fn plain_function() {
        check(
            quote!(),
            quote!(
                fn one() {}
            ),
            quote! {
                const _: () = {
                    fn one() {}
                    ::lvh::__private::submit! {
                        ::lvh::__private::TestCase {
                            module: ::core::module_path!(),
                            name: "one",
                            file: ::core::file!(),
                            line: ::core::line!(),
                            target: ::lvh::__private::cargo_target!(),
                            built: ::lvh::__private::build_place!(),
                            run: || ::lvh::__private::report(one),
                            options: ::lvh::__private::Options { ..::lvh::__private::Options::DEFAULT },
                        }
                    }
                };
                #[::core::prelude::v1::test]
                fn one() {
                    ::lvh::__private::under_libtest(
                        ::core::concat!(::core::module_path!(), "::one"),
                        ::core::option::Option::None
                    )
                }
            },
        );
    }

    #[test]
    fn everything_at_once() {
        check(
            quote!(
                kernels = ["5.10", "6.12"],
                memory = "1G",
                accel = "kvm",
                fail_on = ["oom", "hung-task"],
                fresh_vm,
                crate = kit::lvh,
                runtime = block_on,
            ),
            quote! {
                /// Docs.
                #[expect(unused_variables)]
                #[ignore = "slow"]
                #[should_panic(expected = "boom")]
                #[::core::prelude::v1::test]
                pub(crate) async fn two() {
                    let unused = 1;
                }
            },
            quote! {
                const _: () = {
                    /// Docs.
                    #[expect(unused_variables)]
                    async fn two() {
                        let unused = 1;
                    }
                    kit::lvh::__private::submit! {
                        kit::lvh::__private::TestCase {
                            module: ::core::module_path!(),
                            name: "two",
                            file: ::core::file!(),
                            line: ::core::line!(),
                            target: kit::lvh::__private::cargo_target!(),
                            built: kit::lvh::__private::build_place!(),
                            run: || kit::lvh::__private::report(|| block_on(two())),
                            options: kit::lvh::__private::Options {
                                kernels: &["5.10", "6.12"],
                                memory_mib: ::core::option::Option::Some(1024u32),
                                accel: ::core::option::Option::Some(kit::lvh::__private::Accel::Kvm),
                                fail_on: ::core::option::Option::Some(&[
                                    kit::lvh::__private::KernelEventKind::Oom,
                                    kit::lvh::__private::KernelEventKind::HungTask
                                ]),
                                fresh_vm: true,
                                ignore: ::core::option::Option::Some("slow"),
                                should_panic: ::core::option::Option::Some("boom"),
                                ..kit::lvh::__private::Options::DEFAULT
                            },
                        }
                    }
                };
                #[allow(unused_variables)]
                mod two {
                    #[::core::prelude::v1::test]
                    #[allow(unused_variables)]
                    #[ignore = "slow"]
                    fn v5_10() {
                        kit::lvh::__private::under_libtest(
                            ::core::concat!(::core::module_path!(), "::v5_10"),
                            ::core::option::Option::Some("5.10")
                        )
                    }
                    #[::core::prelude::v1::test]
                    #[allow(unused_variables)]
                    #[ignore = "slow"]
                    fn v6_12() {
                        kit::lvh::__private::under_libtest(
                            ::core::concat!(::core::module_path!(), "::v6_12"),
                            ::core::option::Option::Some("6.12")
                        )
                    }
                }
                #[doc(hidden)]
                #[allow(non_snake_case, unreachable_pub, dead_code, missing_docs)]
                mod __lvh_two {
                    pub fn two() {}
                }
                #[doc(hidden)]
                #[allow(unused_imports, unreachable_pub)]
                pub(crate) use __lvh_two::*;
            },
        );
    }

    #[test]
    fn refused_function_stays_for_the_ide() {
        let expansion = expand(quote!(cpu = 2), quote!(#[test] #[inline] fn three(#[case] x: u32) { x. })).to_string();
        let kept = quote!(#[allow(unused)] #[inline] fn three(x: u32) { x. }).to_string();
        assert!(expansion.ends_with(&kept), "{expansion}");
        assert_eq!(expansion.matches("compile_error").count(), 3, "{expansion}");
    }
}
