//! Loads that are played, without waiting.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// How long work of each kind takes.
#[derive(Debug, Clone, Copy)]
struct Costs {
    statement: Duration,
    search: Duration,
}

impl Costs {
    fn of(self, kind: Kind) -> Duration {
        match kind {
            Kind::Statement => self.statement,
            Kind::Search => self.search,
        }
    }
}

/// A caller that waits, or has a turn: when it came.
#[derive(Debug, Clone, Copy)]
struct Caller {
    number: u64,
    came: Duration,
}

/// What became of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Refused { others_waited: bool },
    GaveWay,
    Served { waited: Duration },
}

/// A line with a clock of its own.
struct Play {
    lanes: Lanes<Caller>,
    costs: Costs,
    now: Duration,
    /// The turns in use, by their ends.
    running: BTreeMap<(Duration, u64), Kind>,
    begun: u64,
    ends: Vec<(Kind, End)>,
}

impl Play {
    fn new(turns: u32, costs: Costs) -> Self {
        Self {
            lanes: Lanes::new(turns),
            costs,
            now: Duration::ZERO,
            running: BTreeMap::new(),
            begun: 0,
            ends: Vec::new(),
        }
    }

    /// The same, where the times are known already.
    fn trained(turns: u32, costs: Costs) -> Self {
        let mut play = Self::new(turns, costs);
        for kind in [Kind::Statement, Kind::Search] {
            for _ in 0..30 {
                play.lanes.record(kind, costs.of(kind), false);
            }
        }
        play
    }

    fn waiting(&self, kind: Kind) -> usize {
        self.lanes.by_kind[kind as usize].waiting.len()
    }

    fn arrive(&mut self, kind: Kind) {
        if self.lanes.take_free(kind) {
            self.begin(kind, Duration::ZERO);
            return;
        }
        if self.lanes.refuses(kind).is_some() {
            let others_waited = self.waiting(kind) > 0;
            self.ends.push((kind, End::Refused { others_waited }));
            return;
        }
        // The number is given by the lane.
        let number = self.lanes.last + 1;
        let came = self.now;
        let caller = Caller { number, came };
        assert_eq!(self.lanes.join(kind, caller, false), number);
    }

    fn begin(&mut self, kind: Kind, waited: Duration) {
        self.ends.push((kind, End::Served { waited }));
        self.begun += 1;
        let end = self.now + self.costs.of(kind);
        self.running.insert((end, self.begun), kind);
    }

    /// The turn that ends first passes on, if that is before `until`.
    fn end_one(&mut self, until: Duration) -> bool {
        let Some((&(end, number), &kind)) = self.running.first_key_value() else {
            return false;
        };
        if end > until {
            return false;
        }
        self.now = end;
        self.running.remove(&(end, number));
        self.lanes.record(kind, self.costs.of(kind), false);
        let mut done = kind;
        while let Some((kind, caller)) = self.lanes.pass_on(done) {
            let waited = self.now.saturating_sub(caller.came);
            self.lanes.leave(kind, caller.number, waited, true);
            if self.lanes.gives_way(kind, waited) {
                self.ends.push((kind, End::GaveWay));
                done = kind;
                continue;
            }
            self.begin(kind, waited);
            break;
        }
        true
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.end_one(until) {}
        self.now = until;
    }

    /// Nobody comes any more. How long it takes until nobody waits or has a turn.
    fn calm_down(&mut self) -> Duration {
        let since = self.now;
        while self.end_one(Duration::MAX) {}
        self.now.saturating_sub(since)
    }

    fn longest_wait(&self, of: Kind) -> Duration {
        let waits = self.ends.iter().filter_map(|(kind, end)| match end {
            End::Served { waited } if *kind == of => Some(*waited),
            _ => None,
        });
        waits.max().unwrap_or_default()
    }

    fn count(&self, of: Kind, is_counted: impl Fn(End) -> bool) -> usize {
        let ends = self.ends.iter();
        ends.filter(|(kind, end)| *kind == of && is_counted(*end))
            .count()
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![3 => Just(Kind::Search), 2 => Just(Kind::Statement)]
}

/// Statements of up to 50 ms, searches of up to 1.5 s.
fn costs() -> impl Strategy<Value = Costs> {
    (1..50_u64, 50..1500_u64).prop_map(|(statement, search)| Costs {
        statement: Duration::from_millis(statement),
        search: Duration::from_millis(search),
    })
}

/// Callers, and the pause before each of them in milliseconds.
fn arrivals() -> impl Strategy<Value = Vec<(Kind, u64)>> {
    vec(
        (kinds(), prop_oneof![Just(0), 0..100_u64, 0..2000_u64]),
        1..300,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nobody_is_refused_where_nobody_waits(
        turns in 1..20_u32, costs in costs(), arrivals in arrivals(), is_trained: bool,
    ) {
        let mut play = if is_trained { Play::trained(turns, costs) } else { Play::new(turns, costs) };
        for (kind, pause) in arrivals {
            play.pass(Duration::from_millis(pause));
            play.arrive(kind);
        }
        play.calm_down();
        let in_vain = |end| end == End::Refused { others_waited: false };
        prop_assert_eq!(play.count(Kind::Search, in_vain), 0);
        prop_assert_eq!(play.count(Kind::Statement, in_vain), 0);
    }

    /// The work that has a turn already is not counted, nor is what comes later in the other lane.
    #[test]
    fn nobody_waits_much_longer_than_was_expected(
        turns in 1..20_u32, costs in costs(), arrivals in arrivals(), only_searches: bool,
    ) {
        let mut play = Play::trained(turns, costs);
        for (kind, pause) in arrivals {
            play.pass(Duration::from_millis(pause));
            play.arrive(if only_searches { Kind::Search } else { kind });
        }
        let calm = play.calm_down();
        let expected = if only_searches { LONGEST_WAIT } else { LONGEST_WAIT * 2 };
        let rest = costs.search * 2 + costs.statement;
        for kind in [Kind::Statement, Kind::Search] {
            let longest = play.longest_wait(kind);
            prop_assert!(longest <= expected + rest, "{:?} waited {:?}", kind, longest);
        }
        prop_assert!(calm <= expected + rest, "calm after {:?}", calm);
    }

    /// Searches of one user, however many, cost its statements no more than the end of some.
    #[test]
    fn statements_do_not_wait_for_the_searches_before_them(
        turns in 1..20_u32, costs in costs(), searches in 1..500_usize,
    ) {
        let mut play = Play::trained(turns, costs);
        for _ in 0..searches {
            play.arrive(Kind::Search);
        }
        for _ in 0..10 {
            play.arrive(Kind::Statement);
            play.pass(costs.search * 2 + costs.statement);
        }
        prop_assert_eq!(play.count(Kind::Statement, |end| matches!(end, End::Refused { .. })), 0);
        let longest = play.longest_wait(Kind::Statement);
        prop_assert!(longest <= costs.search + costs.statement, "{:?}", longest);
    }

    /// What was let in before anything was known is not worked on to its end.
    #[test]
    fn a_first_burst_gives_way(
        turns in 1..20_u32, costs in costs(), burst in 1..2000_usize,
    ) {
        let mut play = Play::new(turns, costs);
        for _ in 0..burst {
            play.arrive(Kind::Search);
        }
        let calm = play.calm_down();
        prop_assert!(calm <= LONGEST_WAIT * 2 + costs.search * 3, "calm after {:?}", calm);
        let served = play.count(Kind::Search, |end| matches!(end, End::Served { .. }));
        prop_assert!(served >= burst.min(play.lanes.most(Kind::Search) as usize));
    }
}

/// Each lane gets half of the time while both have callers.
#[test]
fn lanes_get_equal_time() {
    let costs = Costs {
        statement: Duration::from_millis(10),
        search: Duration::from_millis(250),
    };
    let mut play = Play::trained(1, costs);
    for _ in 0..20_000 {
        play.arrive(Kind::Search);
        play.arrive(Kind::Statement);
        play.pass(Duration::from_millis(1));
    }
    let served = |end| matches!(end, End::Served { .. });
    let time = |kind| costs.of(kind) * u32::try_from(play.count(kind, served)).unwrap();
    let (statements, searches) = (time(Kind::Statement), time(Kind::Search));
    let difference = statements.abs_diff(searches);
    assert!(
        difference <= costs.search * 3,
        "{statements:?}, {searches:?}"
    );
}

#[test]
fn a_wait_for_a_lock_counts_little() {
    let mut lanes: Lanes<()> = Lanes::new(1);
    for _ in 0..10 {
        lanes.record(Kind::Statement, Duration::from_millis(1), false);
    }
    lanes.record(Kind::Statement, Duration::from_secs(16), false);
    assert!(lanes.take_free(Kind::Statement));
    for _ in 0..100 {
        lanes.join(Kind::Statement, (), false);
    }
    assert!(lanes.expected_wait(Kind::Statement) < LONGEST_WAIT);
    // A database that has become slow is noticed.
    for _ in 0..10 {
        lanes.record(Kind::Statement, Duration::from_millis(500), false);
    }
    assert!(lanes.expected_wait(Kind::Statement) > LONGEST_WAIT);
}

/// Where a search takes seconds, another one does not wait for it. Statements do.
#[test]
fn who_would_stay_too_long_is_refused() {
    let mut lanes: Lanes<()> = Lanes::new(8);
    lanes.record(Kind::Search, Duration::from_secs(4), false);
    assert!(lanes.take_free(Kind::Search));
    assert_eq!(lanes.refuses(Kind::Search), None);
    assert!(lanes.take_free(Kind::Search));
    assert!(lanes.refuses(Kind::Search).is_some());
    assert_eq!(lanes.refuses(Kind::Statement), None);
    assert!(lanes.pass_on(Kind::Search).is_none());
    assert_eq!(lanes.refuses(Kind::Search), None);
}

/// Searches leave turns to statements, and the next one begins when one is done.
#[test]
fn searches_have_a_quarter_of_the_turns() {
    let mut lanes = Lanes::new(8);
    assert!(lanes.take_free(Kind::Search) && lanes.take_free(Kind::Search));
    assert!(!lanes.take_free(Kind::Search));
    lanes.join(Kind::Search, "third", false);
    for _ in 0..6 {
        assert!(lanes.take_free(Kind::Statement));
    }
    assert!(!lanes.take_free(Kind::Statement));
    assert_eq!(lanes.pass_on(Kind::Statement), None);
    assert!(lanes.take_free(Kind::Statement));
    assert_eq!(lanes.pass_on(Kind::Search), Some((Kind::Search, "third")));
}

#[test]
fn the_time_of_a_caller_is_that_of_all_its_turns() {
    let mut lanes: Lanes<()> = Lanes::new(1);
    for _ in 0..40 {
        lanes.record(Kind::Search, Duration::from_millis(200), false);
        lanes.record(Kind::Search, Duration::from_millis(600), true);
    }
    assert!(lanes.take_free(Kind::Statement));
    lanes.join(Kind::Search, (), false);
    let expected = lanes.expected_wait(Kind::Search).as_millis();
    assert!((700..=1000).contains(&expected), "{expected} ms");
}

/// Where nothing moves, so that no time is known, the wait that ended last tells.
#[test]
fn a_wait_in_vain_is_expected_of_the_next() {
    let mut lanes = Lanes::new(1);
    assert!(lanes.take_free(Kind::Statement));
    let first = lanes.join(Kind::Statement, (), false);
    let second = lanes.join(Kind::Statement, (), false);
    assert_eq!(lanes.expected_wait(Kind::Statement), Duration::ZERO);
    lanes.leave(Kind::Statement, first, Duration::from_secs(30), false);
    assert_eq!(
        lanes.expected_wait(Kind::Statement),
        Duration::from_secs(30)
    );
    assert_eq!(lanes.expected_wait(Kind::Search), Duration::ZERO);
    lanes.leave(Kind::Statement, second, Duration::from_secs(30), false);
    assert_eq!(lanes.expected_wait(Kind::Statement), Duration::ZERO);
}
