//! Threads that may not start: `pids.max` of a control group and RLIMIT_NPROC bound them.

use std::io;
use std::panic::resume_unwind;
use std::thread::{Builder, JoinHandle};

use tokio::sync::oneshot;

use super::limits::Limits;
use crate::{Error, ErrorKind, Result};

/// Starts a thread called `name`.
///
/// # Errors
/// The machine allows no more; the hint says what bounds them.
pub fn start_thread<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).spawn(body).map_err(|error| no_thread(name, error))
}

/// Does blocking `work` on a thread of its own: tokio panics where it cannot start one.
///
/// # Errors
/// Those of `work`; the machine allows no more threads.
pub(crate) async fn on_a_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (done, ended) = oneshot::channel();
    let thread = start_thread(name, move || {
        // Nobody may wait any more.
        let _ = done.send(work());
    })?;
    match ended.await {
        Ok(result) => result,
        Err(_gone) => resume_unwind(thread.join().expect_err("it ended without a result")),
    }
}

/// Why the thread called `name` did not start.
pub fn no_thread(name: &str, error: io::Error) -> Error {
    with_hint(Error::new(ErrorKind::Missing, format!("cannot start a thread (`{name}`)")), error)
}

/// `failure`, which has this cause; with a hint where there may be no more threads and processes: `EAGAIN` of clone(2). An
/// error of ours within the cause keeps its own.
pub(crate) fn with_hint(failure: Error, cause: io::Error) -> Error {
    let ours =
        cause.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).map(|inner| inner.hint().map(str::to_owned));
    let scarce = || (cause.kind() == io::ErrorKind::WouldBlock).then(|| hint(&Limits::of_process()));
    let hint = ours.unwrap_or_else(scarce);
    hint.into_iter().fold(failure.with_source(cause), Error::with_hint)
}

/// What bounds them, as far as it shows.
fn hint(limits: &Limits) -> String {
    match &limits.tasks {
        Some(limit) => format!("the control group allows {limit} processes and threads: raise that, or run fewer"),
        None => "`ulimit -u` or the machine bounds processes and threads: raise that, or run fewer".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::Limit;
    use super::*;

    #[test]
    fn what_bounds_threads_is_named() {
        let tasks = Some(Limit { value: 7, file: "/f/pids.max".into() });
        let bounded = hint(&Limits { tasks, ..Limits::default() });
        assert_eq!(
            bounded,
            "the control group allows 7 (`/f/pids.max`) processes and threads: raise that, or run fewer"
        );
        assert!(hint(&Limits::default()).contains("`ulimit -u`"));
        let error = no_thread("x", io::Error::from_raw_os_error(libc::EAGAIN));
        assert!(error.report().starts_with("cannot start a thread (`x`): Resource temporarily unavailable"));
        assert!(error.hint().is_some() && no_thread("x", io::ErrorKind::Other.into()).hint().is_none());
        let within = with_hint(Error::new(ErrorKind::Io, "outer"), io::Error::other(error));
        assert!(within.hint().is_some_and(|hint| hint.contains("raise that")));
        assert_eq!(start_thread("y", || 3).unwrap().join().unwrap(), 3);
    }
}
