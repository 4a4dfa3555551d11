//! The table of options: what the attribute accepts.
//!
//! A new option is one row here, one field of `Options` in `lvh-test/src/case.rs`, and one row in the doc of the
//! attribute in `lib.rs`.

use crate::value::{self, Reader};

/// One option of the attribute.
pub(crate) struct Spec {
    /// The name as written.
    pub(crate) name: &'static str,
    /// What it sets; two options with the same target exclude each other.
    pub(crate) target: Target,
    /// Whether it means nothing on the host.
    pub(crate) needs_vm: bool,
    /// Reads and checks the value.
    pub(crate) read: Reader,
}

/// What an option sets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A field of `Options`.
    Field(&'static str),
    /// Where generated code finds the crate `lvh`.
    Crate,
    /// The function that runs a future.
    Runtime,
}

/// The option that moves a test to the host.
pub(crate) const HOST: &str = "host";

const VM: bool = true;
const ANY: bool = false;

/// Every option.
#[rustfmt::skip] // one row per option
pub(crate) const OPTIONS: &[Spec] = &[
    option("kernel",       Target::Field("kernels"),         VM,  value::kernels),
    option("kernels",      Target::Field("kernels"),         VM,  value::kernels),
    option("image",        Target::Field("images"),          VM,  value::images),
    option("images",       Target::Field("images"),          VM,  value::images),
    option("init",         Target::Field("init"),            VM,  value::init),
    option("cpus",         Target::Field("cpus"),            VM,  value::cpus),
    option("memory",       Target::Field("memory_mib"),      VM,  value::memory),
    option("accel",        Target::Field("accel"),           VM,  value::accel),
    option("timeout",      Target::Field("timeout_ms"),      ANY, value::duration),
    option("boot_timeout", Target::Field("boot_timeout_ms"), VM,  value::duration),
    option("modules",      Target::Field("modules"),         VM,  value::modules),
    option("kernel_args",  Target::Field("kernel_args"),     VM,  value::kernel_args),
    option("network",      Target::Field("network"),         VM,  value::choice),
    option("headers",      Target::Field("headers"),         VM,  value::choice),
    option("fail_on",      Target::Field("fail_on"),         VM,  value::fail_on),
    option("fresh_vm",     Target::Field("fresh_vm"),        VM,  value::flag),
    option("fresh_boot",   Target::Field("fresh_boot"),      VM,  value::flag),
    option(HOST,           Target::Field("host"),            ANY, value::flag),
    option("crate",        Target::Crate,                    ANY, value::path),
    option("runtime",      Target::Runtime,                  ANY, value::path),
];

const fn option(name: &'static str, target: Target, needs_vm: bool, read: Reader) -> Spec {
    Spec { name, target, needs_vm, read }
}

/// The option called `name`.
pub(crate) fn find(name: &str) -> Option<&'static Spec> {
    OPTIONS.iter().find(|spec| spec.name == name)
}
