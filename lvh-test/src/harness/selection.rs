//! Which instances the arguments select.

use std::sync::Arc;

use super::args::{RunIgnored, Settings};
use super::instance::Instance;

/// The instances to list or run; the rest counts as filtered out.
pub(crate) fn select(instances: &[Arc<Instance>], settings: &Settings) -> Vec<Arc<Instance>> {
    instances.iter().filter(|instance| is_selected(instance, settings)).cloned().collect()
}

/// Whether a selected instance is shown as ignored instead of run; with the reason.
pub(crate) fn ignore_reason(instance: &Instance, settings: &Settings) -> Option<&'static str> {
    match (instance.case.options.ignore, settings.ignored) {
        _ if settings.only_benches => Some(instance.case.options.ignore.unwrap_or_default()),
        (Some(reason), RunIgnored::No) => Some(reason),
        _ => None,
    }
}

fn is_selected(instance: &Instance, settings: &Settings) -> bool {
    let matches = |filter: &String| matches(instance, filter, settings.exact);
    let options = &instance.case.options;
    (settings.filters.is_empty() || settings.filters.iter().any(matches))
        && !settings.skip.iter().any(matches)
        && !(settings.exclude_should_panic && options.should_panic.is_some())
        && (settings.ignored != RunIgnored::Only || options.ignore.is_some())
}

/// A case's path is a whole name too: it selects all the case's instances, as an editor's Run button expects. So is the
/// name of the shadow that the attribute makes for one kernel.
fn matches(instance: &Instance, filter: &str, exact: bool) -> bool {
    match exact {
        true => instance.name == filter || instance.path == filter || instance.shadow_name().as_deref() == Some(filter),
        false => instance.name.contains(filter),
    }
}
