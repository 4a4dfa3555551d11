//! The functions that take an skb.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use libbpf_rs::btf::types::{Func, FuncProto, Ptr, Struct};
use libbpf_rs::btf::{Btf, TypeId};
use regex_lite::Regex;

/// Arguments that BPF programs can read on every architecture: those in registers.
const MAX_ARGUMENTS: usize = 5;

/// A kernel function that takes an skb.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name, which no other function has.
    pub name: String,
    /// Which of its arguments the skb is; the first is 0.
    pub argument: usize,
}

/// The functions of the kernel, without its modules, that take an skb, may be probed, and have names that the pattern
/// matches as a whole.
///
/// # Errors
/// There is none, the pattern is no regular expression, or the kernel lacks BTF or function tracing.
pub fn functions(pattern: &str) -> Result<Vec<Function>> {
    let whole = Regex::new(&format!("^(?:{pattern})$"))?;
    let mut functions = with_skb()?;
    functions.retain(|function| whole.is_match(&function.name));
    retain_traceable(&mut functions)?;
    ensure!(!functions.is_empty(), "`{pattern}` matches no function that takes an skb");
    Ok(functions)
}

/// All that BTF knows.
fn with_skb() -> Result<Vec<Function>> {
    let btf = Btf::from_vmlinux().context("failed to read the kernel's BTF")?;
    let skb = btf.type_by_name::<Struct>("sk_buff").context("the kernel's BTF has no `sk_buff`")?.type_id();
    let functions = btf.type_by_kind::<Func>().filter_map(|function| {
        let argument = skb_argument(&btf, &function, skb)?;
        Some(Function { name: function.name()?.to_str()?.to_owned(), argument })
    });
    Ok(functions.collect())
}

/// The first argument that is a pointer to an skb.
fn skb_argument(btf: &Btf<'_>, function: &Func<'_>, skb: TypeId) -> Option<usize> {
    let prototype = FuncProto::try_from(function.next_type()?).ok()?;
    prototype.iter().take(MAX_ARGUMENTS).position(|parameter| {
        let target = btf.type_by_id::<Ptr>(parameter.ty).and_then(|pointer| pointer.next_type());
        target.is_some_and(|target| target.skip_mods_and_typedefs().type_id() == skb)
    })
}

/// Drops those that may not be probed, and those whose name means several functions.
fn retain_traceable(functions: &mut Vec<Function>) -> Result<()> {
    let path = "/sys/kernel/tracing/available_filter_functions";
    let text = fs::read_to_string(path).with_context(|| format!("failed to read `{path}`"))?;
    let mut counts: BTreeMap<_, usize> = functions.iter().map(|function| (function.name.clone(), 0)).collect();
    // Behind the name of a module's function is the module's.
    for name in text.lines().filter_map(|line| line.split(' ').next()) {
        if let Some(count) = counts.get_mut(name) {
            *count += 1;
        }
    }
    functions.retain(|function| counts[&function.name] == 1);
    Ok(())
}
