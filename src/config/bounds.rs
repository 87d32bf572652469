//! Numbers that work and are unwise.

/// Between which numbers the value of a variable is wise, and what happens beyond them.
pub(crate) struct Bounds {
    name: &'static str,
    /// What is proposed in place of an unwise value.
    pub(crate) usual: u32,
    low: Option<Bound>,
    high: Option<Bound>,
    /// Whether 0 is no low number, but turns something off.
    zero_is_off: bool,
}

/// The last wise number, and what happens beyond it, as a clause.
type Bound = (u32, &'static str);

const fn bounds(name: &'static str, usual: u32) -> Bounds {
    Bounds {
        name,
        usual,
        low: None,
        high: None,
        zero_is_off: false,
    }
}

impl Bounds {
    const fn at_least(mut self, number: u32, why: &'static str) -> Self {
        self.low = Some((number, why));
        self
    }

    const fn at_most(mut self, number: u32, why: &'static str) -> Self {
        self.high = Some((number, why));
        self
    }

    const fn or_off(mut self) -> Self {
        self.zero_is_off = true;
        self
    }

    pub(crate) fn of(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|one| one.name == name)
    }

    /// The least wise number.
    pub(crate) fn least(&self) -> u32 {
        self.low.map_or(0, |(least, _)| least)
    }

    /// What is unwise about a value, as a predicate.
    pub(super) fn fault(&self, text: &str) -> Option<String> {
        let number: f64 = text.parse().ok()?;
        if self.zero_is_off && number == 0.0 {
            return None;
        }
        let low = self.low.filter(|(least, _)| number < f64::from(*least));
        let high = self.high.filter(|(most, _)| number > f64::from(*most));
        let (_, why) = low.or(high)?;
        Some(format!("is {text}: {why}; use {}", self.usual))
    }
}

/// All variables that are numbers, but PORT.
static ALL: [Bounds; 13] = [
    bounds("WORKERS", 4).at_most(
        64,
        "each is a thread of its own, and more than the machine has cores make requests slower",
    ),
    bounds("REQUEST_TIMEOUT_SECONDS", 20)
        .at_least(
            5,
            "a list of many tasks, or any request while the database is busy, is ended and answered with 503",
        )
        .at_most(29, "clients give up after 30 s and retry"),
    bounds("MAX_BODY_BYTES", 1_048_576)
        .at_least(
            65_536,
            "tasks with long texts and lists of ids are answered with 413",
        )
        .at_most(
            16_777_216,
            "no request of a client is as large, and each takes that much memory",
        ),
    bounds("KEEPALIVE_SECONDS", 75)
        .at_least(
            10,
            "connections are closed while a proxy sends the next request on them, which it answers with 502",
        )
        .at_most(600, "connections that nobody uses stay open"),
    bounds("SHUTDOWN_DELAY_SECONDS", 15).or_off().at_most(
        60,
        "a stop takes as long, and platforms kill the daemon before",
    ),
    bounds("SHUTDOWN_GRACE_SECONDS", 8)
        .at_least(1, "requests that run at a stop are cut off")
        .at_most(
            60,
            "a stop may take as long, and platforms kill the daemon before",
        ),
    bounds("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", 30)
        .at_least(5, "clients ask for new tokens all the time")
        .at_most(
            24 * 60,
            "more than a day, and an access token cannot be revoked before it expires",
        ),
    bounds("RATE_LIMIT_PER_MINUTE", 600).or_off().at_least(
        20,
        "a user's first clicks exceed it, and the other requests are answered with 429",
    ),
    bounds("AUTH_FAILURES_PER_MINUTE", 600).or_off().at_least(
        5,
        "a few old tokens keep everybody out who shares an address, as in an office",
    ),
    bounds("SQLALCHEMY_POOL_SIZE", 10).at_most(
        200,
        "a server allows 100 connections unless it is configured, and each takes memory there",
    ),
    bounds("SQLALCHEMY_POOL_OVERFLOW", 20).at_most(
        200,
        "a server allows 100 connections unless it is configured, and each takes memory there",
    ),
    bounds("SQLALCHEMY_POOL_TIMEOUT", 10)
        .at_least(1, "requests are refused while the connections are busy for a moment")
        .at_most(29, "clients give up after 30 s and retry"),
    bounds("SQLALCHEMY_POOL_RECYCLE", 1800)
        .at_least(30, "connections are opened anew all the time")
        .at_most(
            24 * 60 * 60,
            "firewalls and servers end connections before, and their memory grows",
        ),
];
