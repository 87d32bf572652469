//! The declaration of an endpoint, and the call that its handler receives. The endpoints
//! themselves are in `endpoints`.

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use http::Method;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::auth::{Access, Caller};
use super::context::ApiContext;
use super::error::ApiError;
use super::head::Head;
use super::input::{Declaration, Input, Sources, read};
use super::reply::Reply;

/// One method of one path. Dispatch, `Allow`, access control, limits, cache headers, metrics
/// labels and the OpenAPI document follow from it.
pub struct Endpoint {
    /// `HEAD` is answered wherever `GET` is.
    pub method: Method,
    /// The canonical path, with `{name}` for a variable segment. One slash more or less at its end
    /// makes no difference (contract 1.3).
    pub path: &'static str,
    /// The group in the OpenAPI document.
    pub(super) tag: &'static Tag,
    /// A summary, and after an empty line details if there are any.
    pub(super) doc: &'static str,
    /// Who may call, what the request holds, and the function that answers.
    pub(super) handler: Handler,
    /// Its own answers. Those that follow from access and inputs are added to the document.
    pub(super) answers: &'static [Answer],
    pub(super) options: Options,
}

/// Settings that most endpoints leave at their defaults.
pub(super) struct Options {
    /// Headers and cookies that the handler reads itself.
    pub headers: &'static [&'static Declaration],
    pub cache: CachePolicy,
    pub on_timeout: OnTimeout,
    pub listener: Listener,
    /// Whether it is answered when there are too many connections for anything else.
    pub is_probe: bool,
}

/// A group of endpoints in the OpenAPI document.
pub(super) struct Tag {
    pub name: &'static str,
    pub description: &'static str,
}

/// A path whose answers all have a cache policy: those of its endpoints, and errors on any other
/// path below it.
pub(super) struct Subtree {
    pub path: &'static str,
    pub cache: CachePolicy,
}

/// Whether caches may store an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CachePolicy {
    /// None was chosen: [`Endpoint::cache`] decides.
    Unspecified,
    /// Must not be stored: the answer depends on the caller.
    PrivateNoStore,
    /// Successful answers must not be stored.
    NoStore,
    /// May be stored, but has to be revalidated before each use.
    Revalidate,
    /// As `Revalidate`, only in the caller's own cache: the answer depends on the credentials.
    RevalidatePrivate,
    /// Must not be stored, errors included, with the headers of old browsers and proxies as well
    /// (contract section 5).
    NeverStore,
}

/// The answer to a request that takes too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnTimeout {
    /// 503: the request can be repeated.
    Unavailable,
    /// 409: a repeat might do the work twice. A request with the header `unless` can be repeated.
    OutcomeUnknown { unless: &'static str },
}

/// Which listener serves an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listener {
    Public,
    /// `METRICS_ADDR` if it is set, else the public one.
    Metrics,
}

/// A documented answer.
pub(super) struct Answer {
    pub status: u16,
    pub description: &'static str,
    pub content: Content,
    /// Names and descriptions of headers that only this answer has.
    pub headers: &'static [(&'static str, &'static str)],
}

/// The body of a documented answer.
pub(super) enum Content {
    Empty,
    /// JSON of one of these types.
    Json(&'static [BodySchema]),
    /// Any JSON object.
    AnyJson,
    /// Text of this media type.
    Text(&'static str),
    /// Bytes of any media type.
    Bytes,
}

/// The schema of a type.
pub(super) struct BodySchema {
    pub name: fn() -> Cow<'static, str>,
    pub schema: fn() -> RefOr<Schema>,
    /// Adds the schemas that it refers to.
    pub nested: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl BodySchema {
    pub const fn of<T: ToSchema>() -> Self {
        Self {
            name: T::name,
            schema: T::schema,
            nested: T::schemas,
        }
    }
}

impl Answer {
    pub const fn new(status: u16, description: &'static str, content: Content) -> Self {
        Self {
            status,
            description,
            content,
            headers: &[],
        }
    }
}

/// One request as its handler sees it. `C` is `()` for endpoints without authentication.
pub(super) struct Call<C = Caller> {
    pub context: ApiContext,
    pub head: Arc<Head>,
    pub caller: C,
}

/// The validated inputs of a request.
pub(super) struct Inputs<P = (), Q = (), B = ()> {
    pub path: P,
    pub query: Q,
    pub body: B,
}

/// The inputs of a request before they are validated. The query is in its head.
pub(super) struct RawInputs {
    /// The variable segment of the path: its name, and its value, decoded.
    pub segment: Option<(&'static str, String)>,
    /// `None` when it is empty or not read.
    pub body: Option<Value>,
}

impl Endpoint {
    /// Whether the answer depends on who asks.
    fn depends_on_caller(&self) -> bool {
        match self.handler.run {
            Run::Open(_) => false,
            Run::RefreshCookie(_) | Run::Restricted(..) => true,
        }
    }

    /// What caches may keep of an answer (contract section 8).
    pub(super) fn cache(&self, is_error: bool) -> CachePolicy {
        match self.options.cache {
            policy if !is_error && policy != CachePolicy::Unspecified => policy,
            _ if self.depends_on_caller() => CachePolicy::PrivateNoStore,
            _ => CachePolicy::Unspecified,
        }
    }
}

type Answered = BoxFuture<'static, Result<Reply, ApiError>>;

/// The function that answers, and what its signature says.
pub(super) struct Handler {
    /// The path of the function in the source.
    pub function: &'static str,
    pub run: Run,
    pub inputs: InputDeclarations,
}

impl Handler {
    /// The function's name, which is the operation's id in the OpenAPI document.
    pub fn name(&self) -> &'static str {
        self.function
            .rsplit_once("::")
            .map_or(self.function, |(_, name)| name)
    }
}

/// Who may call.
pub(super) enum Run {
    /// Anyone.
    Open(fn(Call<()>, RawInputs) -> Answered),
    /// The holder of a refresh token in a cookie. The handler checks it.
    RefreshCookie(fn(Call<()>, RawInputs) -> Answered),
    /// Callers with one of these credentials.
    Restricted(Access, fn(Call, RawInputs) -> Answered),
}

/// What a handler reads from a request.
pub(super) struct InputDeclarations {
    pub path: Option<&'static Declaration>,
    pub query: Option<&'static Declaration>,
    pub body: Option<&'static Declaration>,
}

impl InputDeclarations {
    /// Those of a handler's signature.
    pub const fn of<C, P: Input, Q: Input, B: Input, F>(
        _: fn(Call<C>, Inputs<P, Q, B>) -> F,
    ) -> Self {
        Self {
            path: P::DECLARATION,
            query: Q::DECLARATION,
            body: B::DECLARATION,
        }
    }
}

/// Validates path, query and body together, then calls the handler.
pub(super) fn run<C, P, Q, B, F>(
    call: Call<C>,
    raw: &RawInputs,
    handler: fn(Call<C>, Inputs<P, Q, B>) -> F,
) -> Answered
where
    P: Input,
    Q: Input,
    B: Input,
    F: Future<Output = Result<Reply, ApiError>> + Send + 'static,
{
    let segment = raw
        .segment
        .as_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let read = read(&Sources {
        path: segment.as_slice(),
        query: call.head.query(),
        body: raw.body.as_ref(),
    });
    match read {
        Ok((path, query, body)) => handler(call, Inputs { path, query, body }).boxed(),
        Err(errors) => ready(Err(errors.into())).boxed(),
    }
}

/// A [`Handler`]: who may call, and the function. `Open`, `RefreshCookie`, or a variant of
/// [`Access`].
macro_rules! handler {
    (Open, $function:path) => {
        $crate::api::endpoint::handler!(@ $function, Run::Open(|call, raw| {
            $crate::api::endpoint::run(call, &raw, $function)
        }))
    };
    (RefreshCookie, $function:path) => {
        $crate::api::endpoint::handler!(@ $function, Run::RefreshCookie(|call, raw| {
            $crate::api::endpoint::run(call, &raw, $function)
        }))
    };
    (@ $function:path, Run::$run:ident($($arguments:tt)*)) => {
        $crate::api::endpoint::Handler {
            function: stringify!($function),
            run: $crate::api::endpoint::Run::$run($($arguments)*),
            inputs: $crate::api::endpoint::InputDeclarations::of($function),
        }
    };
    ($access:ident, $function:path) => {
        $crate::api::endpoint::handler!(@ $function, Run::Restricted(
            $crate::api::auth::Access::$access,
            |call, raw| $crate::api::endpoint::run(call, &raw, $function)
        ))
    };
}

pub(super) use handler;
