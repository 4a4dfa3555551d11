use std::fs;

use lvh_oci::{Catalog, Error, tags};

use crate::support::*;

#[tokio::test]
async fn the_tags_of_a_repository_are_listed_page_after_page() {
    let registry = Registry::start(&Flavour::Open);
    let proxy = Proxy::start(&registry.address());
    publish(&registry.name("k:6.12-main"), 1000, &quick()).await;
    let repository = registry.storage().join("repositories/k/_manifests/tags");
    for tag in ["6.6-main", "bpf-next-20250101.000000", "bpf-next-main", "latest"] {
        let link = "current/link";
        write(&repository.join(tag).join(link), &fs::read(repository.join("6.12-main").join(link)).unwrap());
    }
    let name = reference(&proxy.name("k"));
    let mut all = tags(&name, &quick()).await.unwrap();
    all.sort();
    assert_eq!(all, ["6.12-main", "6.6-main", "bpf-next-20250101.000000", "bpf-next-main", "latest"]);
    let catalog = Catalog::of(&all);
    assert_eq!(catalog.versions(), ["bpf-next", "6.6", "6.12"]);
    assert_eq!(catalog.tags("bpf-next").unwrap(), ["bpf-next-20250101.000000", "bpf-next-main"]);

    // Debian's registry gives all at once, so the first page is the proxy's.
    proxy.on("GET /v2/k/tags/list?n=", 1, Fault::Answer("HTTP/1.1 200 OK\r\nLink: </v2/k/tags/list?last=5.4-main>; rel=\"next\"\r\nContent-Length: 34\r\n\r\n{\"name\":\"k\",\"tags\":[\"5.4-main\"]}  "));
    assert_eq!(tags(&name, &quick()).await.unwrap().len(), 6);

    proxy.on("GET /v2/k/tags/list?n=", 1, Fault::Answer("HTTP/1.1 200 OK\r\nLink: <http://elsewhere.invalid/x>; rel=\"next\"\r\nContent-Length: 25\r\n\r\n{\"name\":\"k\",\"tags\":null} "));
    let error = tags(&name, &quick()).await.unwrap_err();
    assert!(error.to_string().contains("another server"), "{error}");
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_not_found() {
    let registry = Registry::start(&Flavour::Open);
    let error = tags(&reference(&registry.name("k")), &quick()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}
