//! Words that stand for a variant of an enum of lvh-core, such as `hung-task` for `KernelEventKind::HungTask`.
//!
//! The compiler loads this crate, so it should not have to build lvh-core first: the words stand here once more, and a
//! test compares them.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::{Error, LitStr, Path, Result};

use crate::suggest;

/// Those of lvh-core's `KernelEventKind`.
const KERNEL_EVENTS: [&str; 7] = ["oops", "warn", "lockup", "hung-task", "rcu-stall", "oom", "lockdep"];

/// Those of lvh-core's `Accel`.
const ACCELS: [&str; 3] = ["auto", "kvm", "tcg"];

/// Those of lvh-core's `Init`.
const INITS: [&str; 2] = ["lvh", "systemd"];

/// What `init` takes, for people.
pub(crate) const EXPECTED_INIT: &str = r#"`"lvh"` or `"systemd"`"#;

/// What `accel` takes, for people.
pub(crate) const EXPECTED_ACCEL: &str = r#"`"auto"`, `"kvm"` or `"tcg"`"#;

/// A variant that a word stands for.
pub(crate) struct Keyword {
    /// The enum, as `lvh::__private` exports it.
    of: &'static str,
    variant: String,
}

impl Keyword {
    fn new(of: &'static str, word: &str) -> Self {
        Self { of, variant: camel_case(word) }
    }

    /// The variant, as generated code names it where it finds the crate at `lvh`.
    pub(crate) fn variant(&self, lvh: &Path) -> TokenStream {
        let [of, variant] = [self.of, &self.variant].map(|name| Ident::new(name, Span::call_site()));
        quote!(#lvh::__private::#of::#variant)
    }
}

/// A kernel event that `fail_on` names.
pub(crate) fn kernel_event(word: &LitStr) -> Result<Keyword> {
    let text = word.value();
    if KERNEL_EVENTS.contains(&text.as_str()) {
        return Ok(Keyword::new("KernelEventKind", &text));
    }
    let meant = suggest::closest(&text, KERNEL_EVENTS).map(|name| format!(" (did you mean `{name}`?)"));
    let known = KERNEL_EVENTS.map(|name| format!("`{name}`")).join(", ");
    let hint = meant.unwrap_or_default();
    Err(Error::new(word.span(), format!("unknown kernel event `{text}`{hint}; expected one of: {known}")))
}

/// The accelerator that `accel` names.
pub(crate) fn accel(word: &LitStr) -> Result<Keyword> {
    let text = word.value();
    match ACCELS.contains(&text.as_str()) {
        true => Ok(Keyword::new("Accel", &text)),
        false => Err(Error::new(word.span(), format!("unknown accelerator `{text}`; expected {EXPECTED_ACCEL}"))),
    }
}

/// The first process that `init` names.
pub(crate) fn init(word: &LitStr) -> Result<Keyword> {
    let text = word.value();
    match INITS.contains(&text.as_str()) {
        true => Ok(Keyword::new("Init", &text)),
        false => Err(Error::new(word.span(), format!("unknown init `{text}`; expected {EXPECTED_INIT}"))),
    }
}

/// `hung-task` → `HungTask`.
fn camel_case(word: &str) -> String {
    let capital = |part: &str| part[..1].to_ascii_uppercase() + &part[1..];
    word.split('-').map(capital).collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::str::FromStr;

    use lvh_core::config::{Accel, Init, KernelEventKind};

    use super::{ACCELS, INITS, KERNEL_EVENTS, camel_case};

    /// Checks that each word means the variant of `T` that we make of it.
    fn check<T: Debug + FromStr>(words: &[&str]) {
        for word in words {
            let variant = word.parse::<T>().ok().unwrap_or_else(|| panic!("lvh-core has no `{word}`"));
            assert_eq!(camel_case(word), format!("{variant:?}"));
        }
    }

    #[test]
    fn the_words_are_lvh_cores() {
        check::<KernelEventKind>(&KERNEL_EVENTS);
        check::<Accel>(&ACCELS);
        check::<Init>(&INITS);
        assert_eq!(KERNEL_EVENTS, KernelEventKind::NAMES);
    }
}
