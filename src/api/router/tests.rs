//! The router over the daemon's own table.

use super::*;
use crate::api::endpoints::{ENDPOINTS, SUBTREES};
use crate::api::input::Declaration;

fn find(method: &Method, path: &str) -> Found {
    Router::new(ENDPOINTS, SUBTREES).unwrap().find(method, path)
}

fn label(method: &Method, path: &str) -> &'static str {
    find(method, path).label()
}

fn allow(method: &Method, path: &str) -> String {
    match find(method, path).endpoint {
        Err(Miss::Method { allow, .. }) => allow.to_str().unwrap().to_owned(),
        Err(Miss::Path) => "no such path".to_owned(),
        Ok(endpoint) => panic!("{} answers", endpoint.path),
    }
}

/// Two endpoints with one method and path, or conflicting paths, are refused.
#[test]
fn conflicts_are_found() {
    let twice = ENDPOINTS.iter().chain(&ENDPOINTS[..1]);
    assert!(matches!(
        Router::new(twice, SUBTREES),
        Err(RouteError::Twice { .. })
    ));
    Router::new(ENDPOINTS, SUBTREES).unwrap();
}

/// A handler reads the variable segment of its own path, and has an operation id of its own.
#[test]
fn handlers_fit_their_paths() {
    let mut names = std::collections::BTreeSet::new();
    for endpoint in ENDPOINTS {
        let path = endpoint.path;
        let declared = endpoint.handler.inputs.path.map(Declaration::parameters);
        let declared: Vec<String> = declared
            .into_iter()
            .flatten()
            .map(|parameter| parameter.name)
            .collect();
        let variable: Vec<&str> = variable(path).into_iter().collect();
        assert_eq!(declared, variable, "{path}");
        assert!(names.insert(endpoint.handler.name()), "{path}");
    }
}

/// contract 1.3: both slash forms; a doubled slash is another path; case counts.
#[test]
fn slashes() {
    for endpoint in ENDPOINTS {
        let path = endpoint.path.replace(['{', '}'], "");
        let path = path.strip_suffix('/').unwrap_or(&path);
        assert_eq!(label(&endpoint.method, path), endpoint.path);
        assert_eq!(label(&endpoint.method, &format!("{path}/")), endpoint.path);
        assert_eq!(label(&endpoint.method, &format!("{path}//")), "other");
    }
    for path in [
        "//tasks/",
        "/Tasks/",
        "/",
        "",
        "*",
        "/tasks/1//",
        "/tasks/1/2",
    ] {
        assert_eq!(allow(&Method::GET, path), "no such path", "{path}");
    }
    for path in [
        "/notifications//read",
        "/notifications/read",
        "/notifications/1/2/read",
        "/notifications/1",
    ] {
        assert_eq!(allow(&Method::PATCH, path), "no such path", "{path}");
    }
}

/// contract 3.10: other methods on `bulk-delete` are about a task with that id.
#[test]
fn bulk_delete_falls_through() {
    let path = "/tasks/bulk-delete";
    assert_eq!(label(&Method::POST, path), path);
    for method in [
        Method::GET,
        Method::HEAD,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ] {
        let found = find(&method, path);
        assert_eq!(found.label(), "/tasks/{task_id}");
        assert_eq!(
            found.segment,
            Some(("task_id", "bulk-delete".to_owned())),
            "{method}"
        );
    }
    assert_eq!(
        allow(&Method::OPTIONS, path),
        "DELETE, GET, HEAD, PATCH, POST, PUT"
    );
}

/// contract 10.31: `Allow` names every method of the path.
#[test]
fn allow_is_complete() {
    assert_eq!(
        allow(&Method::POST, "/tasks/1"),
        "DELETE, GET, HEAD, PATCH, PUT"
    );
    assert_eq!(allow(&Method::DELETE, "/tasks"), "GET, HEAD, POST");
}

#[test]
fn segments_are_decoded() {
    let segment = find(&Method::GET, "/tasks/%34%37").segment;
    assert_eq!(segment, Some(("task_id", "47".to_owned())));
}

/// contract 5: every path below the key routes has their cache policy.
#[test]
fn subtrees() {
    for path in [
        "/api/user-api-keys",
        "/api/user-api-keys/",
        "/api/user-api-keys//",
        "/api/user-api-keys/current",
        "/api/user-api-keys/test",
        "/api/user-api-keys/a/b",
    ] {
        assert_eq!(
            find(&Method::GET, path).cache,
            CachePolicy::NeverStore,
            "{path}"
        );
    }
    assert_eq!(
        find(&Method::GET, "/tasks/").cache,
        CachePolicy::Unspecified
    );
}
