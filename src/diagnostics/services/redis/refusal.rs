//! What to do about the error of a Redis that answers.

use crate::config::Remedy;
use crate::services::redis::TryError;

use super::client::Client;

/// What todoctl's counters may take, beyond what is in use.
const ROOM: u64 = 64 << 20;

/// Words of Redis and of the crate redis for what an ACL forbids, within a script too.
const FORBIDDEN: [&str; 5] = [
    "NOPERM",
    "NoPerm",
    "No permissions",
    "no permissions",
    "The user executing the script can't",
];

/// The same for a node of a cluster.
const CLUSTER: [&str; 7] = [
    "MOVED",
    "Moved",
    "CLUSTERDOWN",
    "ClusterDown",
    "CrossSlot",
    "TryAgain",
    "in cluster mode",
];

/// What proxies and services that are no Redis answer to a command that they do not have.
const NO_COMMAND: [&str; 6] = [
    "unknown command",
    "Unknown Redis command",
    "unsupported command",
    "unsupported redis command",
    "ommand is not available",
    "ommand not supported",
];

/// The error without what todoctl has sent.
pub(super) fn short(message: &str) -> &str {
    let ends = [", with args beginning", " script: "];
    ends.iter().fold(message, |text, end| {
        text.split_once(end).map_or(text, |(begin, _)| begin)
    })
}

pub(super) fn remedy(client: &Client, error: &TryError) -> Remedy {
    let text = &error.message;
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if is_login(text) {
        correct_password(client)
    } else if has(&["READONLY", "read only replica"]) {
        Remedy::note("name the primary in REDIS_URL, not a replica")
    } else if has(&["OOM"]) {
        more_memory(client, error.used_memory())
    } else if has(&FORBIDDEN) {
        permissions(client, text)
    } else if has(&CLUSTER) {
        Remedy::note(
            "this is a node of a Redis Cluster, and todoctl needs a single Redis: name one in REDIS_URL",
        )
    } else if has(&["switch database", "DB index"]) {
        Remedy::set("REDIS_URL.database", 0)
    } else if has(&["NOREPLICAS"]) {
        Remedy::note("start the replicas of this Redis, which accepts writes only with as many of them as min-replicas-to-write says")
            .then(as_administrator("where there are none any more"))
            .or(client.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]))
    } else if has(&NO_COMMAND) {
        Remedy::note("todoctl counts with EVALSHA, SCRIPT LOAD, INCR, DEL, PTTL and PEXPIRE: take their rename-command lines out of redis.conf and restart Redis, or name another Redis in REDIS_URL (a proxy may lack them)")
            .then(without())
    } else if has(&["undeclared key"]) {
        Remedy::note("this server allows a script only the keys that it is called with, and what is in front of it has changed the key: name the server itself in REDIS_URL, or allow undeclared keys (Dragonfly: --default_lua_flags=allow-undeclared-keys)")
            .then(without())
    } else if has(&["NOSCRIPT", "NoScript"]) {
        Remedy::note("a script that was just loaded is not known: a proxy or a load balancer there leads to several Redis servers, which share neither scripts nor counters; name one of them in REDIS_URL, or let it lead to one")
            .then(without())
    } else if has(&["max requests limit", "max daily request limit"]) {
        Remedy::note("the plan at the provider of this Redis is used up: raise it, or name another Redis in REDIS_URL")
            .then(without())
    } else if has(&["max number of clients"]) {
        Remedy::note(
            "raise maxclients in redis.conf and restart Redis, or end clients of other programs",
        )
    } else if has(&["DENIED"]) {
        Remedy::note(
            "Redis accepts other machines only with a password: set requirepass in redis.conf, and then: todoctl config set REDIS_URL.password=-",
        )
    } else if has(&["AOF"]) {
        Remedy::note("Redis cannot write its append-only file and refuses writes until it can: make room on its disk, or correct the permissions of its dir; its log says which, and this shows when it is well again (aof_last_write_status):")
            .then(client.command(&["INFO", "persistence"]))
    } else if has(&["MISCONF"]) {
        Remedy::note(
            "Redis cannot save its data and refuses writes: make room on its disk or correct the permissions of its dir; its log says which, and after the next save it goes on:",
        )
        .then(client.command(&["BGSAVE"]))
    } else if has(&["LOADING", "BusyLoading"]) {
        Remedy::note(
            "wait until Redis has read its data from disk; this shows the seconds that are left:",
        )
        .then(client.command(&["INFO", "persistence"]))
    } else if has(&["BUSY"]) {
        as_administrator("another client's script runs for too long; this ends it unless it has written something")
            .then(client.command(&["SCRIPT", "KILL"]))
    } else {
        Remedy::note("read the log of Redis, which says more")
    }
}

/// Whether user or password was refused.
pub(super) fn is_login(error: &str) -> bool {
    let words = ["WRONGPASS", "AuthenticationFailed", "authentication failed"];
    words.iter().any(|word| error.contains(word))
}

/// It answers too late.
pub(super) fn slow(client: &Client) -> Remedy {
    Remedy::note("name a Redis in REDIS_URL that is near this machine, or find out why this one is slow; this shows its slow commands:")
        .then(client.command(&["SLOWLOG", "GET", "10"]))
        .then(without())
}

/// Who ends the pause of a failover lets clients write what is lost afterwards.
pub(super) fn paused(client: &Client) -> Remedy {
    Remedy::note("wait until the failover or the upgrade has ended")
        .then(as_administrator("only if there is none, end the pause"))
        .or(client.command(&["CLIENT", "UNPAUSE"]))
}

pub(super) fn without() -> Remedy {
    Remedy::note("to do without it, with a limit per daemon: todoctl config unset REDIS_URL")
}

/// Eviction would make room too, and might delete keys of other programs.
fn more_memory(client: &Client, used: Option<u64>) -> Remedy {
    let Some(used) = used else {
        return as_administrator(
            "raise its maxmemory, or let it drop keys that expire (maxmemory-policy volatile-ttl)",
        );
    };
    let enough = (used + ROOM).to_string();
    as_administrator("raise its maxmemory; CONFIG REWRITE keeps that for the next start")
        .then(client.command(&["CONFIG", "SET", "maxmemory", &enough]))
}

fn permissions(client: &Client, error: &str) -> Remedy {
    const COMMANDS: [&str; 8] = [
        "+evalsha",
        "+script|load",
        "+incr",
        "+del",
        "+pttl",
        "+pexpire",
        "+ping",
        "+select",
    ];
    let allow = |rules: &[&str]| {
        let words = ["ACL", "SETUSER", &client.user];
        client.command(&[&words, rules].concat())
    };
    let remedy = as_administrator("let the user count; ACL SAVE or redis.conf keeps it")
        .then(allow(&COMMANDS));
    let keys = allow(&["~todoctl:limit:*"]);
    if error.contains("key") {
        remedy.then(keys)
    } else {
        remedy
            .then(Remedy::note(
                "Redis refuses this one, rightly, where the user may use all keys:",
            ))
            .then(keys)
    }
}

fn as_administrator(what: &str) -> Remedy {
    Remedy::note(format!(
        "{what}, as an administrator of Redis (with its password in REDISCLI_AUTH if it has one):"
    ))
}

pub(super) fn correct_password(client: &Client) -> Remedy {
    let password = Remedy::note(
        "correct user and password in REDIS_URL; this asks for the password, and encodes it: todoctl config set REDIS_URL.password=-",
    );
    if client.user == "default" {
        return password;
    }
    password.then(Remedy::note(format!(
        "if they are right, the user may be off: {}",
        client.command(&["ACL", "GETUSER", &client.user])
    )))
}
