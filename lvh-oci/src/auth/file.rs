use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Credentials;
use crate::{Error, Reference, Result};

/// The server under which Docker's own programs file Docker's registry.
const DOCKER_IO: &str = "https://index.docker.io/v1/";

/// Docker's `config.json` or Podman's `auth.json`: the part of it that is about credentials.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AuthFile {
    auths: BTreeMap<String, Entry>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl AuthFile {
    /// Reads `path`; none where there is no such file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let bytes = match fs::read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|e| Error::io("read", path, e))?,
        };
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|e| Error::Credentials { from: path.display().to_string(), why: e.to_string() })
    }

    /// The helper that keeps this registry's credentials, `docker-credential-` left out, and the name to ask it for.
    pub(super) fn helper<'a>(&'a self, reference: &'a Reference) -> Option<(&'a str, &'a str)> {
        let own = names(reference).iter().find_map(|name| find(&self.helpers, name));
        let helper = own.or(self.store.as_ref()).filter(|helper| !helper.is_empty())?;
        let server = if reference.registry() == "docker.io" { DOCKER_IO } else { reference.registry() };
        Some((helper, server))
    }

    /// The credentials that the file itself holds; the most specific name wins.
    pub(super) fn entry(&self, reference: &Reference) -> std::result::Result<Option<Credentials>, String> {
        for name in names(reference) {
            if let Some(credentials) = find(&self.auths, &name).map(Entry::credentials).transpose()?.flatten() {
                return Ok(Some(credentials));
            }
        }
        Ok(None)
    }
}

impl Entry {
    fn credentials(&self) -> std::result::Result<Option<Credentials>, String> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&self.registrytoken) {
            return Ok(Some(Credentials::Bearer(token)));
        }
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Some(Credentials::IdentityToken(token)));
        }
        match given(&self.auth) {
            Some(auth) => decode(&auth).map(Some),
            None => Ok(given(&self.username)
                .map(|user| Credentials::Basic { user, password: self.password.clone().unwrap_or_default() })),
        }
    }
}

fn decode(auth: &str) -> std::result::Result<Credentials, String> {
    let bytes = STANDARD.decode(auth.trim()).map_err(|e| format!("`auth` is not base64: {e}"))?;
    let text = String::from_utf8(bytes).map_err(|e| format!("`auth` is not text: {e}"))?;
    let (user, password) = text.split_once(':').ok_or("`auth` is not `USER:PASSWORD` in base64")?;
    // Docker pads with NULs.
    Ok(Credentials::Basic { user: user.to_owned(), password: password.trim_end_matches('\0').to_owned() })
}

/// Under which names the credentials may be: Podman's may be of a repository or a part of it.
fn names(reference: &Reference) -> Vec<String> {
    let (registry, repository) = (reference.registry(), reference.repository());
    let ends = repository.match_indices('/').map(|(at, _)| at).chain([repository.len()]);
    let mut names: Vec<_> = ends.map(|end| format!("{registry}/{}", &repository[..end])).collect();
    names.reverse();
    names.push(registry.to_owned());
    if registry == "docker.io" {
        names.extend(["index.docker.io".to_owned(), "registry-1.docker.io".to_owned()]);
    }
    names
}

/// The value under `name`, however the key writes it: `https://`, `/v1/` and a slash at its end do not count.
fn find<'a, T>(map: &'a BTreeMap<String, T>, name: &str) -> Option<&'a T> {
    map.iter().find(|(key, _)| plain(key) == name).map(|(_, value)| value)
}

fn plain(key: &str) -> &str {
    let key = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> AuthFile {
        serde_json::from_str(text).unwrap()
    }

    /// `auths` of three names; which of them an image gets.
    #[track_caller]
    fn check(keys: &[&str], reference: &str, expected: Option<&str>) {
        let entries: Vec<_> =
            keys.iter().map(|key| format!(r#""{key}":{{"username":"{key}","password":"p"}}"#)).collect();
        let file = parse(&format!(r#"{{"auths":{{{}}}}}"#, entries.join(",")));
        let expected = expected.map(|user| Credentials::Basic { user: user.to_owned(), password: "p".to_owned() });
        assert_eq!(file.entry(&reference.parse().unwrap()).unwrap(), expected, "{reference}");
    }

    #[test]
    fn the_most_specific_name_wins() {
        let keys = ["quay.io", "quay.io/lvh", "quay.io/lvh/kernels", "other.io"];
        check(&keys, "quay.io/lvh/kernels:1", Some("quay.io/lvh/kernels"));
        check(&keys, "quay.io/lvh/images:1", Some("quay.io/lvh"));
        check(&keys, "quay.io/lvhx/images:1", Some("quay.io"));
        check(&keys, "third.io/a:1", None);
    }

    #[test]
    fn dockers_registry_goes_by_several_names() {
        for key in ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "docker.io/library"] {
            check(&[key], "busybox", Some(key));
        }
        check(&["https://quay.io", "http://r.test:5000/v2/"], "r.test:5000/x", Some("http://r.test:5000/v2/"));
        check(&["https://index.docker.io/v1/"], "quay.io/x", None);
    }

    #[test]
    fn an_entry_may_hold_four_kinds() {
        let basic =
            |user: &str, password: &str| Credentials::Basic { user: user.to_owned(), password: password.to_owned() };
        for (entry, expected) in [
            (r#"{"auth":"dTpwOnE="}"#, Ok(Some(basic("u", "p:q")))),
            (r#"{"auth":"dTpwAAA="}"#, Ok(Some(basic("u", "p")))),
            (r#"{"auth":"dTpw","identitytoken":"t"}"#, Ok(Some(Credentials::IdentityToken("t".to_owned())))),
            (r#"{"registrytoken":"t"}"#, Ok(Some(Credentials::Bearer("t".to_owned())))),
            (r#"{}"#, Ok(None)),
            (r#"{"auth":"!"}"#, Err(())),
            (r#"{"auth":"dXA="}"#, Err(())),
        ] {
            let file = parse(&format!(r#"{{"auths":{{"quay.io":{entry}}},"HttpHeaders":{{}}}}"#));
            assert_eq!(file.entry(&"quay.io/x".parse().unwrap()).map_err(drop), expected, "{entry}");
        }
    }

    #[test]
    fn a_helper_of_its_own_comes_before_the_store() {
        let file = parse(r#"{"credHelpers":{"quay.io":"own"},"credsStore":"all"}"#);
        assert_eq!(file.helper(&"quay.io/x".parse().unwrap()), Some(("own", "quay.io")));
        assert_eq!(file.helper(&"busybox".parse().unwrap()), Some(("all", "https://index.docker.io/v1/")));
        assert_eq!(parse("{}").helper(&"busybox".parse().unwrap()), None);
    }

    #[test]
    fn no_secret_is_shown() {
        for credentials in [
            decode("dTpzZWNyZXQ=").unwrap(),
            Credentials::IdentityToken("secret".to_owned()),
            Credentials::Bearer("secret".to_owned()),
        ] {
            assert!(!format!("{credentials:?}").contains("secret"));
        }
    }
}
