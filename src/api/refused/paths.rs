//! What is wrong with a path that has no endpoint.

use std::borrow::Cow;

use crate::api::endpoints::ENDPOINTS;
use crate::api::head::decode;
use crate::api::router::Router;

/// What probes and scrapers ask for by custom, and todoctl does not have.
const USUAL_PROBES: [&str; 18] = [
    "/",
    "/-/healthy",
    "/-/ready",
    "/_health",
    "/actuator/health",
    "/alive",
    "/health-check",
    "/health_check",
    "/healthcheck",
    "/healthz",
    "/heartbeat",
    "/live",
    "/livez",
    "/ping",
    "/ready",
    "/readyz",
    "/startupz",
    "/up",
];

/// The longest prefix of a path, in segments, and the longest segment in characters that is told.
const PREFIX_SEGMENTS: usize = 3;
const SEGMENT: usize = 12;

/// Whether a probe or a scraper asks for it.
pub(super) fn is_probe(path: &str) -> bool {
    path.starts_with("/health") || path.starts_with("/metrics")
}

/// The reason in a word, and what can be told of the path.
pub(super) fn wrong_path(
    router: &Router,
    path: &str,
    is_anonymous: bool,
) -> (&'static str, Option<Cow<'static, str>>) {
    let probed = match path {
        "/" => path,
        _ => path.trim_end_matches('/'),
    };
    let elsewhere = ENDPOINTS.iter().map(|endpoint| endpoint.path);
    // On the other listener.
    let elsewhere = elsewhere.filter(|path| is_probe(path));
    let mut probes = USUAL_PROBES.into_iter().chain(elsewhere);
    if !is_anonymous && path == "/" {
        return ("path_cut", Some(Cow::Borrowed("/tasks")));
    }
    if let Some(probe) = probes.find(|one| *one == probed) {
        return ("probe_path", Some(Cow::Borrowed(probe)));
    }
    if path.contains("//") {
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        let single: String = segments.flat_map(|segment| ["/", segment]).collect();
        if router.has(&single) {
            return ("path_slashes", None);
        }
    }
    for (position, _) in path.match_indices('/').skip(1).take(PREFIX_SEGMENTS) {
        let (prefix, rest) = path.split_at(position);
        if rest.len() > 1 && router.has(rest) {
            let prefix = told_prefix(prefix);
            return if is_probe(rest) {
                ("probe_path", Some(Cow::Owned([&*prefix, rest].concat())))
            } else {
                ("path_prefix", Some(prefix))
            };
        }
    }
    if router.has(&path.to_ascii_lowercase()) {
        return ("path_case", None);
    }
    if path.contains('%') && router.has(&decode(path)) {
        return ("path_encoded", None);
    }
    match missing_begin(path) {
        Some(begin) => ("path_cut", Some(Cow::Owned(begin))),
        None => ("path", None),
    }
}

/// What is missing before the path, if it is the end of one that exists.
fn missing_begin(path: &str) -> Option<String> {
    let sent: Vec<&str> = path.split('/').filter(|one| !one.is_empty()).collect();
    ENDPOINTS.iter().find_map(|endpoint| {
        let whole = endpoint.path.split('/').filter(|one| !one.is_empty());
        let whole: Vec<&str> = whole.collect();
        let cut = whole.len().checked_sub(sent.len())?;
        let (begin, end) = whole.split_at(cut);
        let is_variable = |segment: &str| segment.starts_with('{');
        let is_at = |(sent, whole): (&&str, &&str)| {
            let is_id = || sent.bytes().all(|byte| byte.is_ascii_digit());
            sent == whole || is_variable(whole) && is_id()
        };
        let is_end = !sent.is_empty() && sent.iter().zip(end).all(is_at);
        let is_told = !begin.is_empty() && !begin.iter().any(|one| is_variable(one));
        (is_end && is_told).then(|| begin.iter().flat_map(|one| ["/", *one]).collect())
    })
}

/// The prefix, if it is made of short words.
fn told_prefix(prefix: &str) -> Cow<'static, str> {
    let is_word = |segment: &str| {
        let version = segment.strip_prefix('v').unwrap_or_default();
        segment.len() <= SEGMENT
            && (segment.bytes().all(|byte| byte.is_ascii_lowercase())
                || (version.len() == 1 && version.bytes().all(|byte| byte.is_ascii_digit())))
    };
    if prefix.split('/').all(is_word) {
        Cow::Owned(prefix.to_owned())
    } else {
        Cow::Borrowed("another prefix")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::endpoint::Listener;
    use crate::api::endpoints::SUBTREES;

    #[test]
    fn paths_that_are_nearly_right() {
        let public = ENDPOINTS.iter();
        let public = public.filter(|one| one.options.listener == Listener::Public);
        let router = Router::new(public, SUBTREES).unwrap();
        for (path, reason, detail) in [
            ("/", "probe_path", Some("/")),
            ("/healthz", "probe_path", Some("/healthz")),
            ("/readyz/", "probe_path", Some("/readyz")),
            ("/metrics", "probe_path", Some("/metrics")),
            ("/api/tasks/", "path_prefix", Some("/api")),
            ("/api/v1/tasks/5", "path_prefix", Some("/api/v1")),
            (
                "/s3cr3t-t0k3n/tasks/",
                "path_prefix",
                Some("another prefix"),
            ),
            ("/v12345/tasks/", "path_prefix", Some("another prefix")),
            ("/api/health", "probe_path", Some("/api/health")),
            ("//tasks//5", "path_slashes", None),
            ("/Tasks/", "path_case", None),
            ("/tasks%2F5", "path_encoded", None),
            ("/5", "path_cut", Some("/tasks")),
            ("/5/read", "path_cut", Some("/notifications")),
            ("/user-api-keys/current", "path_cut", Some("/api")),
            ("/auth/refresh/", "path_cut", Some("/api")),
            ("/wp-login.php", "path", None),
            ("/a/b/c/d/tasks/", "path", None),
            ("/%ff", "path", None),
        ] {
            let (found, said) = wrong_path(&router, path, true);
            assert_eq!((found, said.as_deref()), (reason, detail), "{path}");
        }
        assert_eq!(wrong_path(&router, "/", false).0, "path_cut");
    }
}
