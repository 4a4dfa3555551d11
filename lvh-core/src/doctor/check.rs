//! The outcome of looking at one thing.

/// One thing that lvh needs or can use, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name, such as `QEMU` or `/dev/kvm`.
    pub name: &'static str,
    /// How it stands.
    pub state: State,
    /// What was found, such as `/usr/bin/qemu-system-x86_64 (version 9.2)`.
    pub found: String,
    /// What its lack costs; `None` where nothing lacks.
    pub cost: Option<&'static str>,
    /// The command or step that mends it; `None` where nothing lacks.
    pub fix: Option<String>,
}

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing lacks.
    Ok,
    /// Something is not there that few need.
    Optional,
    /// lvh runs, but slower or with less.
    Degraded,
    /// lvh cannot run.
    Missing,
}

impl Check {
    /// Nothing lacks.
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), cost: None, fix: None }
    }

    /// Something lacks: what it costs, and the fix.
    pub(super) fn lack(
        name: &'static str,
        state: State,
        found: impl Into<String>,
        cost: &'static str,
        fix: String,
    ) -> Self {
        Self { name, state, found: found.into(), cost: Some(cost), fix: Some(fix) }
    }
}

/// Whether nothing mandatory is missing.
pub fn can_run(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.state != State::Missing)
}
