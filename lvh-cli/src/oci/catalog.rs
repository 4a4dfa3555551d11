//! Which kernels a repository has.

use lvh_core::Result;
use lvh_oci::{Catalog, Reference};

use super::session::{Session, failed};

/// The published kernels of a repository, such as `quay.io/lvh-images/kernel-images`.
pub(crate) fn catalog(repository: &str) -> Result<Catalog> {
    let reference: Reference = repository.parse().map_err(failed)?;
    let session = Session::open(Some(repository))?;
    let tags = session.run(lvh_oci::tags(&reference, &session.options))?;
    Ok(Catalog::of(&tags))
}
