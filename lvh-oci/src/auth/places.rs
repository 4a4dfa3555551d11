use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Credentials;
use super::credential_helper;
use super::file::AuthFile;
use crate::{Error, Options, Reference, Result};

/// The files that may hold credentials, the first to be asked first.
#[derive(Debug, Clone)]
pub(crate) struct Places(Vec<PathBuf>);

/// The credentials for a registry, and where they are from.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) credentials: Credentials,
    from: From,
}

#[derive(Debug, Clone)]
enum From {
    Caller,
    File(PathBuf),
    Helper { program: String, file: PathBuf },
    Nowhere(Vec<PathBuf>),
}

impl Places {
    /// Those that Docker and Podman use, by the environment.
    pub(crate) fn of_environment() -> Self {
        Self::of(&|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
    }

    fn of(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Self {
        let home = variable("HOME");
        let config = variable("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
        let docker = variable("DOCKER_CONFIG");
        let places = [
            variable("REGISTRY_AUTH_FILE"),
            docker.as_ref().map(|dir| dir.join("config.json")),
            variable("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")),
            config.map(|dir| dir.join("containers/auth.json")),
            home.filter(|_| docker.is_none()).map(|home| home.join(".docker/config.json")),
        ];
        Self(places.into_iter().flatten().collect())
    }

    /// The credentials for `reference`: those of the options, else the first that a file or its helper has.
    pub(crate) async fn find(&self, reference: &Reference, options: &Options) -> Result<Found> {
        if let Some(credentials) = &options.credentials {
            return Ok(Found { credentials: credentials.clone(), from: From::Caller });
        }
        for path in &self.0 {
            if let Some(file) = AuthFile::read(path)?
                && let Some(found) = look(path, &file, reference, options.helper_timeout).await?
            {
                return Ok(found);
            }
        }
        Ok(Found { credentials: Credentials::Anonymous, from: From::Nowhere(self.0.clone()) })
    }
}

async fn look(path: &Path, file: &AuthFile, reference: &Reference, patience: Duration) -> Result<Option<Found>> {
    if let Some((name, server)) = file.helper(reference)
        && let Some(credentials) = credential_helper::ask(name, server, patience).await?
    {
        let from = From::Helper { program: format!("docker-credential-{name}"), file: path.to_owned() };
        return Ok(Some(Found { credentials, from }));
    }
    let entry = file.entry(reference).map_err(|why| Error::Credentials { from: path.display().to_string(), why })?;
    Ok(entry.map(|credentials| Found { credentials, from: From::File(path.to_owned()) }))
}

/// What an error says of them.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.credentials {
            Credentials::Basic { user, .. } => write!(f, "as `{user}`, ")?,
            Credentials::IdentityToken(_) | Credentials::Bearer(_) => write!(f, "with a token, ")?,
            Credentials::Anonymous => {}
        }
        match &self.from {
            From::Caller => f.write_str("with the credentials that were given"),
            From::File(path) => write!(f, "with the credentials of `{}`", path.display()),
            From::Helper { program, file } => write!(f, "with those of `{program}`, which `{}` names", file.display()),
            From::Nowhere(paths) => {
                let paths: Vec<_> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
                write!(f, "there are no credentials for it in {}", paths.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variables: &[(&str, &str)], expected: &[&str]) {
        let places = Places::of(&|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()));
        assert_eq!(places.0, expected.iter().map(PathBuf::from).collect::<Vec<_>>());
    }

    #[test]
    fn dockers_and_podmans_files_are_looked_at() {
        check(&[("HOME", "/h")], &["/h/.config/containers/auth.json", "/h/.docker/config.json"]);
        check(
            &[
                ("HOME", "/h"),
                ("DOCKER_CONFIG", "/d"),
                ("REGISTRY_AUTH_FILE", "/r"),
                ("XDG_RUNTIME_DIR", "/x"),
                ("XDG_CONFIG_HOME", "/c"),
            ],
            &["/r", "/d/config.json", "/x/containers/auth.json", "/c/containers/auth.json"],
        );
        check(&[], &[]);
    }
}
