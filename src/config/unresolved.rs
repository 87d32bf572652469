//! Names of servers that do not resolve.

use super::container::in_container;
use super::remedy::Remedy;

/// What to do about the host of `variable`, which is at `place`, with or without scheme and port;
/// `otherwise` is for a name that is no container's.
pub(crate) fn unresolved(variable: &str, place: &str, otherwise: Remedy) -> Remedy {
    let host = place.split_once("://").map_or(place, |(_, rest)| rest);
    let host = host.split(':').next().unwrap_or_default();
    let is_label = |one: u8| one.is_ascii_alphanumeric() || b"-_".contains(&one);
    if host.is_empty() || !host.bytes().all(is_label) {
        return otherwise;
    }
    if in_container() {
        return Remedy::note(format!(
            "if {host} is another container, it does not run, and has no name then, or is in another network: start it (docker compose up -d {host}), or connect both to one network (networks: in the compose file)"
        ))
        .then(otherwise);
    }
    otherwise.then(Remedy::note(format!(
        "{host} may be the name of a container, which only containers of its network know: from this machine {variable} has to name a port that it publishes"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_containers() {
        let of = |place: &str| {
            let otherwise = Remedy::note("correct it");
            unresolved("REDIS_URL", place, otherwise).to_string()
        };
        for place in ["redis:6379", "http://auth:3001", "postgres"] {
            assert!(of(place).contains("container"), "{place}");
        }
        for place in [
            "db.example.com:5432",
            "https://auth.example.com",
            "the database",
        ] {
            assert_eq!(of(place), "# correct it", "{place}");
        }
    }
}
