//! The parity cases under Rust's own harness.

macro_rules! case {
    ($(#[$attribute:meta])* fn $name:ident() $(-> $return:ty)? $body:block) => {
        #[test]
        $(#[$attribute])*
        fn $name() $(-> $return)? $body
    };
}

mod cases;
