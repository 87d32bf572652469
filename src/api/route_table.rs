//! Which paths and methods exist: the one table that dispatch, `Allow`, metrics
//! and the OpenAPI test share.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

/// A path and the methods that it answers.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// The canonical path, with `{name}` for a variable segment.
    pub template: &'static str,
    /// `HEAD` is answered wherever `GET` is, and is not listed.
    pub methods: &'static [Method],
}

/// `/tasks/`: list and create.
pub static TASKS: Route = Route {
    template: "/tasks/",
    methods: &[Method::GET, Method::POST],
};
/// Many at once; any other method on this path is about a task of that id.
pub static TASKS_BULK_DELETE: Route = Route {
    template: "/tasks/bulk-delete",
    methods: &[Method::POST],
};
/// One task.
pub static TASK: Route = Route {
    template: "/tasks/{task_id}",
    methods: &[Method::GET, Method::PUT, Method::PATCH, Method::DELETE],
};
/// A user's newest notifications.
pub static NOTIFICATIONS: Route = Route {
    template: "/notifications/",
    methods: &[Method::GET],
};
/// All of them at once.
pub static NOTIFICATIONS_READ_ALL: Route = Route {
    template: "/notifications/read-all",
    methods: &[Method::POST],
};
/// One notification has been seen.
pub static NOTIFICATION_READ: Route = Route {
    template: "/notifications/{notification_id}/read",
    methods: &[Method::PATCH],
};
/// The user's provider key.
pub static USER_API_KEYS: Route = Route {
    template: "/api/user-api-keys",
    methods: &[Method::POST],
};
/// The one that is stored.
pub static USER_API_KEY_CURRENT: Route = Route {
    template: "/api/user-api-keys/current",
    methods: &[Method::GET, Method::DELETE],
};
/// A new access token for a refresh token.
pub static AUTH_REFRESH: Route = Route {
    template: "/api/auth/refresh",
    methods: &[Method::POST],
};
/// Ends a session.
pub static AUTH_LOGOUT: Route = Route {
    template: "/api/auth/logout",
    methods: &[Method::POST],
};
/// Whether the service works, the database included.
pub static HEALTH: Route = Route {
    template: "/health",
    methods: &[Method::GET],
};
/// Whether the process runs.
pub static HEALTH_LIVE: Route = Route {
    template: "/health/live",
    methods: &[Method::GET],
};
/// Whether requests should be sent here.
pub static HEALTH_READY: Route = Route {
    template: "/health/ready",
    methods: &[Method::GET],
};
/// Prometheus text.
pub static METRICS: Route = Route {
    template: "/metrics",
    methods: &[Method::GET],
};
/// What `todoctl doctor` reads.
pub static STATUS: Route = Route {
    template: "/status",
    methods: &[Method::GET],
};
/// Swagger UI.
pub static DOCS: Route = Route {
    template: "/docs",
    methods: &[Method::GET],
};
/// Swagger UI's files.
pub static DOCS_ASSET: Route = Route {
    template: "/docs/{asset}",
    methods: &[Method::GET],
};
/// Leads to [`DOCS`].
pub static REDOC: Route = Route {
    template: "/redoc",
    methods: &[Method::GET],
};
/// The OpenAPI document.
pub static OPENAPI: Route = Route {
    template: "/openapi.json",
    methods: &[Method::GET],
};

/// All routes; among those that fit a path and a method the first counts.
pub static ALL: [&Route; 19] = [
    &TASKS,
    &TASKS_BULK_DELETE,
    &TASK,
    &NOTIFICATIONS,
    &NOTIFICATIONS_READ_ALL,
    &NOTIFICATION_READ,
    &USER_API_KEYS,
    &USER_API_KEY_CURRENT,
    &AUTH_REFRESH,
    &AUTH_LOGOUT,
    &HEALTH,
    &HEALTH_LIVE,
    &HEALTH_READY,
    &METRICS,
    &STATUS,
    &DOCS,
    &DOCS_ASSET,
    &REDOC,
    &OPENAPI,
];

/// What a path and a method lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This route; the variable segment, percent-decoded, if it has one.
    Found {
        /// The route.
        route: &'static Route,
        /// Its variable segment.
        parameter: Option<String>,
    },
    /// The path exists, the method does not; these do.
    WrongMethod {
        /// The value of `Allow`.
        allow: String,
    },
    /// There is no such path.
    NotFound,
}

impl Target {
    /// The route's template; `other` keeps unknown paths from filling the metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Found { route, .. } => route.template,
            Self::WrongMethod { .. } | Self::NotFound => "other",
        }
    }
}

/// Looks a path up. One trailing slash more or less makes no difference; a
/// doubled one is another path.
#[must_use]
pub fn find(method: &Method, path: &str) -> Target {
    let wanted = if *method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let mut allowed: Vec<&Method> = Vec::new();
    for route in ALL {
        let Some(parameter) = fits(route.template, path) else {
            continue;
        };
        if route.methods.contains(wanted) {
            return Target::Found {
                route,
                parameter: parameter.map(|segment| decode(segment).into_owned()),
            };
        }
        allowed.extend(route.methods);
    }
    if allowed.is_empty() {
        return Target::NotFound;
    }
    let mut names: Vec<&str> = allowed.iter().map(|method| method.as_str()).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.sort_unstable();
    names.dedup();
    Target::WrongMethod {
        allow: names.join(", "),
    }
}

fn without_slash(text: &str) -> &str {
    text.strip_suffix('/').unwrap_or(text)
}

/// Whether `path` is of the template's form, and its variable segment.
fn fits<'p>(template: &str, path: &'p str) -> Option<Option<&'p str>> {
    let path = without_slash(path);
    match template.split_once('{') {
        None => (without_slash(template) == path).then_some(None),
        Some((prefix, rest)) => {
            let suffix = rest.split_once('}').map_or("", |(_, suffix)| suffix);
            let segment = path.strip_prefix(prefix)?.strip_suffix(suffix)?;
            (!segment.is_empty() && !segment.contains('/')).then_some(Some(segment))
        }
    }
}

fn decode(segment: &str) -> Cow<'_, str> {
    percent_decode_str(segment).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(method: &Method, path: &str) -> &'static str {
        find(method, path).label()
    }

    /// Contract 1.3: both slash forms, a doubled slash is another path, case counts.
    #[test]
    fn slashes() {
        for path in ["/tasks", "/tasks/"] {
            assert_eq!(label(&Method::GET, path), "/tasks/");
        }
        for path in [
            "/tasks//",
            "//tasks/",
            "/Tasks/",
            "/",
            "",
            "/tasks/1//",
            "/tasks/1/2",
        ] {
            assert_eq!(find(&Method::GET, path), Target::NotFound, "{path}");
        }
        assert_eq!(label(&Method::GET, "/tasks/1/"), "/tasks/{task_id}");
        for path in ["/notifications/1/read", "/notifications/x/read/"] {
            assert_eq!(
                label(&Method::PATCH, path),
                "/notifications/{notification_id}/read",
                "{path}"
            );
        }
        for path in [
            "/notifications//read",
            "/notifications/read",
            "/notifications/1/2/read",
            "/notifications/1",
        ] {
            assert_eq!(find(&Method::PATCH, path), Target::NotFound, "{path}");
        }
    }

    /// Contract 3.10: other methods on `bulk-delete` are about a task of that id.
    #[test]
    fn bulk_delete_falls_through() {
        assert_eq!(
            label(&Method::POST, "/tasks/bulk-delete"),
            "/tasks/bulk-delete"
        );
        assert_eq!(
            label(&Method::GET, "/tasks/bulk-delete"),
            "/tasks/{task_id}"
        );
        assert_eq!(
            label(&Method::HEAD, "/tasks/bulk-delete"),
            "/tasks/{task_id}"
        );
    }

    /// Contract 10.31: `Allow` names every method of the path.
    #[test]
    fn allow_is_complete() {
        assert_eq!(
            find(&Method::POST, "/tasks/1"),
            Target::WrongMethod {
                allow: "DELETE, GET, HEAD, PATCH, PUT".to_owned()
            }
        );
        assert_eq!(
            find(&Method::DELETE, "/tasks"),
            Target::WrongMethod {
                allow: "GET, HEAD, POST".to_owned()
            }
        );
    }

    #[test]
    fn segments_are_decoded() {
        let Target::Found { parameter, .. } = find(&Method::GET, "/tasks/%34%37") else {
            panic!("a task's path");
        };
        assert_eq!(parameter.as_deref(), Some("47"));
    }
}
