//! How many connections the requests of a batcher use.

use std::time::Duration;

/// About how long a request should wait for a connection at most.
pub(super) const CONNECTION_WAIT: Duration = Duration::from_millis(1);

/// Statements that take less use one connection at a time: more requests share each of them, which
/// saves more than the database loses while this process reads an answer. Longer ones, such as those
/// that commit, use two at least.
const SHORT: Duration = Duration::from_micros(250);

/// The connections in use, and how many requests they are used for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    pub connections: usize,
    pub requests: usize,
}

/// The number of connections in use that does not make a request wait for longer than
/// [`CONNECTION_WAIT`], if the statements of each follow each other without a pause.
///
/// It follows from the distance of the database, and so from the times of the quickest statements.
/// On a busy machine all others take longer. More connections would then mean fewer requests in each
/// statement, and so even more work.
#[derive(Debug)]
pub(super) struct Width {
    /// How long a connection is in use for the quickest statements.
    quick: Option<Duration>,
    average: Duration,
    most: usize,
}

impl Width {
    /// At most `most` connections.
    pub fn up_to(most: usize) -> Self {
        Self {
            quick: None,
            average: Duration::ZERO,
            most,
        }
    }

    /// Takes into account that a connection was in use for `duration`.
    pub fn record(&mut self, duration: Duration) {
        // A statement that waits for a lock must not count for a long time.
        let highest = CONNECTION_WAIT.saturating_mul(u32::try_from(self.most).unwrap_or(u32::MAX));
        let duration = duration.min(highest);
        self.average = (self.average * 7 + duration) / 8;
        // It falls quickly and rises slowly, however long a statement takes, so the quickest count.
        self.quick = Some(self.quick.map_or(duration, |quick| {
            let slower = duration.saturating_sub(quick).min(quick.max(SHORT));
            if slower.is_zero() {
                (quick * 7 + duration) / 8
            } else {
                quick + slower / 64
            }
        }));
    }

    /// Whether `waiting` requests, the first of which has waited for `waited`, should use one more
    /// connection.
    ///
    /// They should be at least half as many as those that share a statement at present. A few that
    /// go ahead of those that arrive next would take a connection and a commit for themselves. But
    /// they wait for others no longer than [`CONNECTION_WAIT`]: an answer from a distant database
    /// takes much more.
    pub fn has_room(&self, load: Load, waiting: usize, waited: Duration) -> bool {
        let Load {
            connections,
            requests,
        } = load;
        let is_worth_it = 2 * waiting * connections >= requests || waited >= CONNECTION_WAIT;
        connections < self.get() && is_worth_it || waited >= self.patience()
    }

    /// How long requests wait although as many connections are in use as there should be. It is as
    /// long as statements take longer than the quickest. If none becomes free within that time, those in
    /// use wait for something, such as a lock, or the database is distant and all of them are on the way.
    pub fn patience(&self) -> Duration {
        let quick = self.quick.unwrap_or_default();
        CONNECTION_WAIT.max(self.average.saturating_sub(quick))
    }

    fn get(&self) -> usize {
        let quick = self.quick.unwrap_or_default();
        let needed = quick.as_micros().div_ceil(CONNECTION_WAIT.as_micros());
        let fewest = if quick < SHORT { 1 } else { 2 };
        usize::try_from(needed)
            .unwrap_or(usize::MAX)
            .max(fewest)
            .min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(most: usize, durations: &[(u64, usize)]) -> usize {
        let mut width = Width::up_to(most);
        for (micros, times) in durations {
            for _ in 0..*times {
                width.record(Duration::from_micros(*micros));
            }
        }
        width.get()
    }

    #[test]
    fn it_follows_the_latency_of_the_database() {
        assert_eq!(after(15, &[]), 1);
        assert_eq!(after(15, &[(150, 100)]), 1, "loopback");
        assert_eq!(after(15, &[(500, 100)]), 2, "with a commit");
        assert_eq!(after(15, &[(5_500, 100)]), 6, "5 ms away");
        assert_eq!(after(15, &[(80_000, 100)]), 15, "not above the pool");
        assert_eq!(after(1, &[(80_000, 100)]), 1);
        assert_eq!(after(15, &[(80_000, 100), (150, 100)]), 1, "back again");
    }

    #[test]
    fn a_busy_machine_needs_no_more_connections() {
        let mut width = Width::up_to(15);
        for _ in 0..100 {
            for micros in [200, 5_000, 200, 9_000, 3_000] {
                width.record(Duration::from_micros(micros));
            }
        }
        assert_eq!(width.get(), 1);
        assert!(width.patience() > Duration::from_millis(2));
        assert_eq!(after(15, &[(200, 100), (5_500, 300)]), 6, "moved away");
    }

    #[test]
    fn few_requests_wait_for_others() {
        let mut width = Width::up_to(15);
        for _ in 0..100 {
            width.record(Duration::from_micros(2_500));
        }
        let has_room = |connections, requests, waiting| {
            let load = Load {
                connections,
                requests,
            };
            width.has_room(load, waiting, Duration::ZERO)
        };
        assert!(has_room(0, 0, 1), "nobody to wait with");
        assert!(has_room(1, 1, 1) && has_room(1, 2, 1));
        assert!(!has_room(1, 3, 1) && has_room(1, 3, 2));
        assert!(!has_room(2, 64, 15) && has_room(2, 64, 16));
        assert!(!has_room(3, 3, 100), "as many as there should be");
    }

    #[test]
    fn nobody_waits_for_others_while_a_distant_database_answers() {
        let mut width = Width::up_to(15);
        for _ in 0..100 {
            width.record(Duration::from_millis(10));
        }
        let has_room = |connections, waited| {
            let load = Load {
                connections,
                requests: 6 * connections,
            };
            width.has_room(load, 1, Duration::from_millis(waited))
        };
        assert!(!has_room(9, 0) && has_room(9, 1));
        assert!(!has_room(10, 0) && has_room(10, 1), "all are on the way");
    }

    #[test]
    fn one_statement_that_waits_for_a_lock_changes_little() {
        assert_eq!(after(15, &[(300, 100), (10_000_000, 1), (300, 2)]), 2);
    }
}
