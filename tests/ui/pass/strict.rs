//! Whatever stands around it, the code that the attribute makes finds its own way and brings no warning.

#![deny(warnings, missing_docs, unreachable_pub, unused, non_snake_case)]
#![forbid(unsafe_code)]
#![no_implicit_prelude]

mod core {}
mod std {}
mod inventory {}

#[expect(dead_code, reason = "only there to be in the way")]
struct Option;

macro_rules! submit {
    () => {};
}

/// Has a name of our own.
#[::lvh::test(kernel = "6.12", fresh_vm)]
#[ignore = "because"]
pub(crate) fn report() {}

#[::lvh::test]
pub async fn block_on() -> ::core::result::Result<(), ::core::fmt::Error> {
    ::core::result::Result::Ok(())
}

/// A crate that passes the attribute on.
mod kit {
    pub(crate) mod vm {
        pub(crate) use ::lvh::{__private, test};
    }
}

mod inner {
    use super::kit::vm;

    #[vm::test(crate = crate::kit::vm)]
    fn elsewhere() {}
}

fn main() {
    submit!();
    ::core::assert_eq!(::core::iter::Iterator::count(::lvh::__private::cases()), 3);
}
