//! Registers a case by hand, as the attribute does.

use std::process::{ExitCode, Termination};

/// Whether a test's return value means success.
pub fn succeeded(value: impl Termination) -> bool {
    value.report() == ExitCode::SUCCESS
}

/// Registers a function with lvh; takes `#[ignore]` and `#[should_panic]` in libtest's forms, and `#[options(..)]` with
/// fields of `lvh`'s `Options`.
#[macro_export]
macro_rules! register {
    ($(#[$($attribute:tt)*])* fn $name:ident() $(-> $return:ty)? $body:block) => {
        const _: () = {
            fn $name() $(-> $return)? $body
            $crate::__lvh::__private::submit! {
                $crate::__lvh::__private::TestCase {
                    module: module_path!(),
                    name: stringify!($name),
                    file: file!(),
                    line: line!(),
                    target: $crate::__lvh::__private::cargo_target!(),
                    built: $crate::__lvh::__private::build_place!(),
                    run: || $crate::succeeded($name()),
                    options: {
                        #[allow(unused_mut)]
                        let mut options = $crate::__lvh::__private::Options::DEFAULT;
                        $($crate::register! { @option options $($attribute)* })*
                        options
                    },
                }
            }
        };
    };
    (@option $options:ident ignore) => { $options.ignore = Some(""); };
    (@option $options:ident ignore = $reason:literal) => { $options.ignore = Some($reason); };
    (@option $options:ident should_panic) => { $options.should_panic = Some(""); };
    (@option $options:ident should_panic(expected = $text:literal)) => { $options.should_panic = Some($text); };
    (@option $options:ident options($($key:ident = $value:expr),*)) => { $($options.$key = $value;)* };
}
