//! Finds the endpoint of a request.

use std::collections::BTreeMap;

use http::{HeaderValue, Method};

use super::endpoint::{CachePolicy, Endpoint, Subtree};
use super::error::ApiError;
use super::head::decode;

/// The endpoints of one listener, by path and method.
pub(super) struct Router {
    paths: matchit::Router<Path>,
}

/// Why a table of endpoints is not valid.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// Two paths conflict, or a path is not well-formed.
    #[error("path {path}: {source}")]
    Path {
        path: &'static str,
        source: matchit::InsertError,
    },
    /// One method of a path has two endpoints.
    #[error("{method} {path} is in the table twice")]
    Twice { method: Method, path: &'static str },
}

/// A path of the table. One of a subtree has no endpoints.
struct Path {
    endpoints: Vec<Candidate>,
    allow: HeaderValue,
    cache: CachePolicy,
}

#[derive(Clone, Copy)]
struct Candidate {
    endpoint: &'static Endpoint,
    /// The value of the variable segment if this path is a fixed one.
    fixed: Option<&'static str>,
}

/// What was found for a request.
pub(super) struct Found {
    pub endpoint: Result<&'static Endpoint, Miss>,
    /// The variable segment of the path: its name, and its value, decoded.
    pub segment: Option<(&'static str, String)>,
    /// The policy for every answer, errors included; [`CachePolicy::Unspecified`] if there is none.
    pub cache: CachePolicy,
}

/// Why there is no endpoint.
pub(super) enum Miss {
    Path,
    /// The path has other methods.
    Method {
        /// The path's template.
        path: &'static str,
        allow: HeaderValue,
    },
}

impl Found {
    /// The label in the metrics and the log. Unknown paths share one, so that they cannot fill
    /// the metrics.
    pub fn label(&self) -> &'static str {
        self.endpoint
            .as_ref()
            .map_or("other", |endpoint| endpoint.path)
    }

    /// The endpoint, or the error that says why there is none.
    pub fn endpoint(&self) -> Result<&'static Endpoint, ApiError> {
        match &self.endpoint {
            Ok(endpoint) => Ok(endpoint),
            Err(Miss::Path) => Err(ApiError::PathNotFound),
            Err(Miss::Method { allow, .. }) => Err(ApiError::MethodNotAllowed {
                allow: allow.clone(),
            }),
        }
    }
}

impl Router {
    /// Fails if two endpoints conflict.
    pub fn new(
        endpoints: impl IntoIterator<Item = &'static Endpoint>,
        subtrees: &'static [Subtree],
    ) -> Result<Self, RouteError> {
        let templates = by_path(endpoints)?;
        // The paths with a variable segment, to find those that a fixed path hides.
        let mut variable = matchit::Router::new();
        for (path, own) in &templates {
            if path.contains('{') {
                insert(&mut variable, path, own)?;
            }
        }
        let mut paths = matchit::Router::new();
        for (path, own) in &templates {
            let mut endpoints: Vec<Candidate> = own
                .iter()
                .map(|endpoint| Candidate {
                    endpoint,
                    fixed: None,
                })
                .collect();
            if !path.contains('{')
                && let Ok(hidden) = variable.at(path)
            {
                // Methods that a fixed path lacks are those of the path with a variable segment
                // (contract 3.10).
                let fixed = hidden.params.iter().next().map(|(_, value)| value);
                for endpoint in hidden.value.iter().copied() {
                    if own.iter().all(|one| one.method != endpoint.method) {
                        endpoints.push(Candidate { endpoint, fixed });
                    }
                }
            }
            let cache = subtrees
                .iter()
                .find(|subtree| subtree.contains(path))
                .map_or(CachePolicy::Unspecified, |subtree| subtree.cache);
            insert(&mut paths, path, Path::new(endpoints, cache))?;
        }
        for subtree in subtrees {
            for path in subtree.patterns() {
                // Paths with endpoints are there already.
                let _ = paths.insert(path, Path::new(Vec::new(), subtree.cache));
            }
        }
        Ok(Self { paths })
    }

    /// Whether a path has any endpoint.
    pub fn has(&self, path: &str) -> bool {
        let found = self.paths.at(without_slash(path));
        found.is_ok_and(|found| !found.value.endpoints.is_empty())
    }

    /// Finds the endpoint for a path as sent.
    pub fn find(&self, method: &Method, path: &str) -> Found {
        let path = without_slash(path);
        let Ok(found) = self.paths.at(path) else {
            return Found {
                endpoint: Err(Miss::Path),
                segment: None,
                cache: CachePolicy::Unspecified,
            };
        };
        let Path {
            endpoints,
            allow,
            cache,
        } = found.value;
        let wanted = match *method {
            Method::HEAD => &Method::GET,
            _ => method,
        };
        let candidate = endpoints.iter().find(|one| one.endpoint.method == *wanted);
        let endpoint = match candidate {
            Some(one) => Ok(one.endpoint),
            None => match endpoints.first() {
                None => Err(Miss::Path),
                Some(other) => Err(Miss::Method {
                    path: other.endpoint.path,
                    allow: allow.clone(),
                }),
            },
        };
        let segment = candidate.and_then(|one| {
            let value = one
                .fixed
                .or_else(|| found.params.iter().next().map(|(_, value)| value))?;
            Some((variable(one.endpoint.path)?, decode(value).into_owned()))
        });
        Found {
            endpoint,
            segment,
            cache: *cache,
        }
    }
}

impl Path {
    fn new(endpoints: Vec<Candidate>, cache: CachePolicy) -> Self {
        let mut methods: Vec<&str> = endpoints
            .iter()
            .map(|one| one.endpoint.method.as_str())
            .collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.sort_unstable();
        Self {
            // Names of methods are ASCII, so this cannot fail.
            allow: HeaderValue::from_str(&methods.join(", "))
                .unwrap_or(HeaderValue::from_static("")),
            endpoints,
            cache,
        }
    }
}

impl Subtree {
    /// Whether `path` is the subtree's own or below it.
    fn contains(&self, path: &str) -> bool {
        path.strip_prefix(self.path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// What matches every path that it contains.
    fn patterns(&self) -> [String; 3] {
        [
            self.path.to_owned(),
            format!("{}/", self.path),
            format!("{}/{{*rest}}", self.path),
        ]
    }
}

/// The endpoints of each path, without the slash at its end.
fn by_path(
    endpoints: impl IntoIterator<Item = &'static Endpoint>,
) -> Result<BTreeMap<&'static str, Vec<&'static Endpoint>>, RouteError> {
    let mut paths: BTreeMap<_, Vec<&'static Endpoint>> = BTreeMap::new();
    for endpoint in endpoints {
        let own = paths.entry(without_slash(endpoint.path)).or_default();
        if own.iter().any(|one| one.method == endpoint.method) {
            return Err(RouteError::Twice {
                method: endpoint.method.clone(),
                path: endpoint.path,
            });
        }
        own.push(endpoint);
    }
    Ok(paths)
}

fn insert<T>(
    router: &mut matchit::Router<T>,
    path: &'static str,
    value: T,
) -> Result<(), RouteError> {
    router
        .insert(path, value)
        .map_err(|source| RouteError::Path { path, source })
}

fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// The name of a template's variable segment.
fn variable(template: &'static str) -> Option<&'static str> {
    let (_, rest) = template.split_once('{')?;
    rest.split_once('}').map(|(name, _)| name)
}

#[cfg(test)]
mod tests;
