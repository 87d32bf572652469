//! Why requests and connections are refused, and how it is judged.

/// A reason, in the words of `/status`.
pub(super) struct Cause {
    pub reason: &'static str,
    /// The kind of credentials; empty for any.
    pub caller: &'static str,
    /// Only refusals with these details; empty for any.
    pub details: &'static [&'static str],
    pub among: Among,
    pub usual: Usual,
    /// Follows the counts.
    pub what: &'static str,
    pub remedy: &'static str,
}

/// What refusals are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Among {
    /// Accepted credentials of these kinds.
    Accepted(&'static [&'static str]),
    /// Requests of the method that have changed something.
    Method,
    /// Answers to the same method and path.
    Route,
    /// Refreshed access tokens.
    Refreshes,
    /// All answers.
    Answers,
    /// Nothing: others tell nothing about them.
    Nothing,
}

/// How often a reason occurs although nothing is set up wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usual {
    /// It does not.
    Never,
    /// Right clients are refused so now and then.
    Sometimes,
    /// Right clients are refused so, and do better with the next request.
    InTurn,
    /// Right clients are refused so before their users sign in, and probes.
    BeforeSignIn,
    /// Scanners and bots are refused so.
    ByStrangers,
    /// The same, but none of them asks as often as a probe.
    ByFewAtATime,
    /// One client may be refused so on purpose, several with different addresses are not.
    ByOne,
}

const USER: Among = Among::Accepted(&["jwt"]);
const USERS: Among = Among::Accepted(&["jwt", "session"]);
const SERVICE: Among = Among::Accepted(&["service"]);
pub(super) const ALL: Among = Among::Accepted(ALL_KINDS);

/// The kinds of credentials.
pub(super) const ALL_KINDS: &[&str] = &["jwt", "session", "service"];

/// The algorithms whose keys an auth server publishes.
pub(super) const PUBLISHED: &[&str] = &["EdDSA", "ES256", "RS256"];

/// What a token is that no session has: it may be of another sign-in service, it is the text of
/// something else, or it is too short for a token.
pub(super) const UNKNOWN_TOKEN: &[&str] = &["token"];
pub(super) const NO_TOKEN: &[&str] = &["no token"];
pub(super) const SHORT_TOKEN: &[&str] = &["too short"];

/// A service token, or a signature, of which nothing more is known; also from older daemons, which tell
/// no details.
pub(super) const OTHER: &[&str] = &["another", "HS256"];

/// Secrets of this service that sign no tokens of users, and those that are no service token.
pub(super) const NO_SIGNERS: &[&str] = &[
    "ENCRYPTION_KEY",
    "SERVICE_AUTH_TOKEN",
    "SESSION_HASH_SECRET",
];
pub(super) const NO_SERVICE_TOKENS: &[&str] =
    &["ENCRYPTION_KEY", "JWT_SECRET", "SESSION_HASH_SECRET"];

/// A token of a user, whatever its details.
pub(super) const fn token(reason: &'static str, what: &'static str, remedy: &'static str) -> Cause {
    Cause {
        reason,
        caller: "jwt",
        details: &[],
        among: USER,
        usual: Usual::Never,
        what,
        remedy,
    }
}

/// Another token of a user.
pub(super) const fn session(
    reason: &'static str,
    what: &'static str,
    remedy: &'static str,
) -> Cause {
    Cause {
        caller: "session",
        among: USERS,
        ..token(reason, what, remedy)
    }
}

/// A request without credentials of a known kind.
pub(super) const fn without(what: &'static str, remedy: &'static str) -> Cause {
    Cause {
        caller: "none",
        ..session("missing", what, remedy)
    }
}

/// A refused refresh of an access token.
pub(super) const fn refresh(
    reason: &'static str,
    what: &'static str,
    remedy: &'static str,
) -> Cause {
    write(reason, what, remedy).among(Among::Refreshes)
}

/// A request of a service.
pub(super) const fn service(
    reason: &'static str,
    what: &'static str,
    remedy: &'static str,
) -> Cause {
    Cause {
        caller: "service",
        among: SERVICE,
        ..token(reason, what, remedy)
    }
}

/// A request that changes something.
pub(super) const fn write(reason: &'static str, what: &'static str, remedy: &'static str) -> Cause {
    Cause {
        caller: "",
        among: Among::Method,
        ..token(reason, what, remedy)
    }
}

/// A path that does not exist, asked for with credentials.
pub(super) const fn path(reason: &'static str, what: &'static str, remedy: &'static str) -> Cause {
    Cause {
        caller: "unknown",
        among: ALL,
        ..token(reason, what, remedy)
    }
}

/// A request or a connection of any kind, however many others there are.
pub(super) const fn any(reason: &'static str, what: &'static str, remedy: &'static str) -> Cause {
    Cause {
        caller: "",
        among: Among::Nothing,
        ..token(reason, what, remedy)
    }
}

impl Cause {
    pub const fn of(self, details: &'static [&'static str]) -> Self {
        Self { details, ..self }
    }

    pub const fn among(self, among: Among) -> Self {
        Self { among, ..self }
    }

    pub const fn usual(self, usual: Usual) -> Self {
        Self { usual, ..self }
    }
}
