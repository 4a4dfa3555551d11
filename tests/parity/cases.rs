//! The cases, each with the attributes that the harness must understand.
//!
//! `case!` is the including file's: one makes libtest's tests of them, the other registers them with lvh.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what the harness makes of that is the point")]

case! {
    fn passes() {
        println!("said by a test that passes");
    }
}

case! {
    fn fails() {
        println!("to stdout");
        eprintln!("to stderr");
        assert_eq!(1 + 1, 3, "sums");
    }
}

case! {
    #[ignore]
    fn ignored() {
        panic!("ignored tests do not run");
    }
}

case! {
    #[ignore = "needs \"more\" time"]
    fn ignored_with_reason() {}
}

case! {
    #[should_panic]
    fn panics_as_it_should() {
        panic!("as it should");
    }
}

case! {
    #[should_panic]
    fn does_not_panic() {
        println!("calm");
    }
}

case! {
    #[should_panic(expected = "the right")]
    fn panics_with_the_right_text() {
        panic!("this is the right text");
    }
}

case! {
    #[should_panic(expected = "the right")]
    fn panics_with_another_text() {
        panic!("quite \"another\" text");
    }
}

case! {
    #[should_panic(expected = "the right")]
    fn panics_without_text() {
        std::panic::panic_any(7_u32);
    }
}

case! {
    #[ignore]
    #[should_panic]
    fn ignored_and_should_panic() {}
}

mod nested {
    case! {
        fn returns_an_error() -> Result<(), String> {
            Err("tab\there, line\nend, ünïcode and \u{1}".to_owned())
        }
    }

    case! {
        fn returns_ok() -> Result<(), String> {
            Ok(())
        }
    }

    case! {
        fn fails_silently() {
            std::panic::resume_unwind(Box::new(()));
        }
    }
}
