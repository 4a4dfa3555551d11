//! The attribute's arguments: from tokens to checked settings.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{LitStr, Path, Result, Token};

use crate::errors::Errors;
use crate::options::{self, HOST, OPTIONS, Spec, Target};
use crate::suggest;
use crate::value::{Raw, Value};

/// What one attribute sets.
#[derive(Default)]
pub(crate) struct Args {
    settings: Vec<Setting>,
}

/// One option that the attribute sets.
struct Setting {
    spec: &'static Spec,
    key: Ident,
    /// `None` if it was refused.
    value: Option<Value>,
}

impl Args {
    /// Reads the attribute's arguments; what is wrong goes to `errors`.
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self::default();
        let read_all = |input: ParseStream<'_>| {
            while !input.is_empty() {
                args.read_one(input, errors);
            }
            Ok(())
        };
        let read = read_all.parse2(tokens);
        errors.take(read);
        args.check_host(errors);
        args.check_init(errors);
        args
    }

    /// The fields of `Options` with their values.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.settings.iter().filter_map(|setting| match setting.spec.target {
            Target::Field(field) => Some((field, setting.value.as_ref()?)),
            Target::Crate | Target::Runtime => None,
        })
    }

    /// `kernels = [..]`; none where the attribute names none.
    pub(crate) fn kernels(&self) -> &[LitStr] {
        self.names("kernels")
    }

    /// `images = [..]`; none where the attribute names none.
    pub(crate) fn images(&self) -> &[LitStr] {
        self.names("images")
    }

    fn names(&self, field: &str) -> &[LitStr] {
        match self.fields().find(|(name, _)| *name == field) {
            Some((_, Value::Names(names))) => names,
            _ => &[],
        }
    }

    /// `crate = ..`.
    pub(crate) fn crate_path(&self) -> Option<&Path> {
        self.path(Target::Crate)
    }

    /// `runtime = ..`.
    pub(crate) fn runtime(&self) -> Option<&Path> {
        self.path(Target::Runtime)
    }

    fn path(&self, target: Target) -> Option<&Path> {
        let setting = self.settings.iter().find(|setting| setting.spec.target == target)?;
        match &setting.value {
            Some(Value::Path(path)) => Some(path),
            _ => None,
        }
    }

    /// Reads one option and the comma behind it.
    fn read_one(&mut self, input: ParseStream<'_>, errors: &mut Errors) {
        let Ok(key) = Ident::parse_any(input) else {
            return errors.at(until_comma(input), "expected an option such as `kernel = \"6.12\"`");
        };
        let tokens = input.parse::<Option<Token![=]>>();
        let has_value = matches!(tokens, Ok(Some(_)));
        let rest = until_comma(input);
        if !has_value && !rest.is_empty() {
            return errors.at(rest, format!("expected `=` or `,` after `{key}`"));
        }
        match options::find(&key.unraw().to_string()) {
            Some(spec) => self.set(spec, key, has_value.then_some(rest), errors),
            None => errors.at(&key, unknown(&key)),
        }
    }

    fn set(&mut self, spec: &'static Spec, key: Ident, tokens: Option<TokenStream>, errors: &mut Errors) {
        if let Some(earlier) = self.settings.iter().find(|earlier| earlier.spec.target == spec.target) {
            errors.at(&key, clash(earlier.spec, spec));
            errors.at(&earlier.key, "first set here");
        }
        let value = errors.take((spec.read)(&Raw { key: key.span(), tokens }));
        self.settings.push(Setting { spec, key, value });
    }

    /// A test on the host has no VM that could be configured.
    fn check_host(&self, errors: &mut Errors) {
        let on_host = |setting: &Setting| setting.spec.name == HOST && matches!(setting.value, Some(Value::Flag(true)));
        if !self.settings.iter().any(on_host) {
            return;
        }
        for setting in self.settings.iter().filter(|setting| setting.spec.needs_vm) {
            errors.at(&setting.key, format!("`{}` means nothing with `host`: no VM is started", setting.spec.name));
        }
    }

    /// The host's root is no system that starts in a guest.
    fn check_init(&self, errors: &mut Errors) {
        let init = self.settings.iter().find(|setting| setting.spec.name == "init" && setting.value.is_some());
        if let Some(init) = init.filter(|_| self.images().is_empty()) {
            errors.at(&init.key, "`init` means nothing without `image`: the host's root has no init of its own");
        }
    }
}

/// The tokens up to the next comma, which is dropped.
fn until_comma(input: ParseStream<'_>) -> TokenStream {
    let next = |input: ParseStream<'_>| -> Result<TokenTree> { input.parse() };
    let mut tokens = TokenStream::new();
    while !input.is_empty() && !input.peek(Token![,]) {
        tokens.extend(next(input));
    }
    let _comma = input.parse::<Token![,]>();
    tokens
}

fn unknown(key: &Ident) -> String {
    let names = || OPTIONS.iter().map(|spec| spec.name);
    let known: Vec<String> = names().map(|name| format!("`{name}`")).collect();
    let meant = suggest::closest(&key.to_string(), names());
    let hint = meant.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default();
    format!("unknown option `{key}`{hint}; expected one of: {}", known.join(", "))
}

fn clash(earlier: &Spec, later: &Spec) -> String {
    match earlier.name == later.name {
        true => format!("option `{}` is set twice", later.name),
        false => format!("`{}` and `{}` set the same thing; keep one", earlier.name, later.name),
    }
}
