//! Reports that follow a run, of all its results: for people, JUnit and GitHub.

mod github;
mod junit;
mod junit_file;
mod post_run;
mod table;

pub(crate) use post_run::{Shown, tell};
