//! Which instances the arguments select.

use super::args::{Args, RunIgnored};
use crate::job::Instance;

/// The instances to list or run; the rest counts as filtered out.
pub(crate) fn select(instances: &[Instance], args: &Args) -> Vec<Instance> {
    instances.iter().filter(|instance| is_selected(instance, args)).cloned().collect()
}

/// Whether a selected instance is shown as ignored instead of run; with the reason.
pub(crate) fn ignore_reason<'i>(instance: &'i Instance, args: &Args) -> Option<&'i str> {
    match (instance.ignore.as_deref(), args.ignored) {
        _ if args.only_benches => Some(instance.ignore.as_deref().unwrap_or_default()),
        (Some(reason), RunIgnored::No) => Some(reason),
        _ => None,
    }
}

fn is_selected(instance: &Instance, args: &Args) -> bool {
    let matches = |filter: &String| matches(instance, filter, args.exact);
    (args.filters.is_empty() || args.filters.iter().any(matches))
        && !args.skip.iter().any(matches)
        && !(args.exclude_should_panic && instance.should_panic.is_some())
        && (args.ignored != RunIgnored::Only || instance.ignore.is_some())
}

/// A case's path is a whole name too: it selects all the case's instances, as an editor's Run button expects. So is the
/// name of the shadow that the attribute makes for one kernel or image.
fn matches(instance: &Instance, filter: &str, exact: bool) -> bool {
    match exact {
        true => instance.name == filter || instance.path == filter || instance.has_shadow(filter),
        false => instance.name.contains(filter),
    }
}
