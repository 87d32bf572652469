use std::pin::{Pin, pin};

use futures_util::FutureExt as _;

use super::*;
use crate::store::client::{ClientState, on_behalf_of_client};

fn is_waiting<F: Future>(turn: Pin<&mut F>) -> bool {
    turn.now_or_never().is_none()
}

impl Admission {
    async fn get(&self, kind: Kind, standing: Standing) -> Result<Turn, NoTurn> {
        self.turn(kind, standing, None).await
    }
}

#[tokio::test]
async fn a_turn_passes_from_one_to_the_next() {
    let line = Admission::new(2);
    let first = line.try_turn(Kind::Search).unwrap();
    let second = line.get(Kind::Statement, Standing::New).await.unwrap();
    assert!(!line.is_free() && line.try_turn(Kind::Statement).is_none());
    let mut third = pin!(line.get(Kind::Statement, Standing::New));
    let mut fourth = pin!(line.get(Kind::Statement, Standing::New));
    assert!(is_waiting(third.as_mut()) && is_waiting(fourth.as_mut()));
    drop(second);
    assert!(is_waiting(fourth.as_mut()));
    let third = third.await.unwrap();
    drop(first);
    let fourth = fourth.await.unwrap();
    assert!(!line.is_free());
    drop(third);
    assert!(line.is_free());
    drop(fourth);
    assert_eq!(line.lock().free(), 2);
}

/// What has begun is ended before others begin, and statements do not wait for searches.
#[tokio::test]
async fn who_is_next() {
    let line = Admission::new(1);
    let turn = line.try_turn(Kind::Search).unwrap();
    let mut new = pin!(line.get(Kind::Search, Standing::New));
    let mut begun = pin!(line.get(Kind::Search, Standing::Begun));
    let mut statement = pin!(line.get(Kind::Statement, Standing::New));
    for search in [&mut new, &mut begun] {
        assert!(is_waiting(search.as_mut()));
    }
    assert!(is_waiting(statement.as_mut()));
    drop(turn);
    drop(statement.await.unwrap());
    assert!(is_waiting(new.as_mut()));
    drop(begun.await.unwrap());
    drop(new.await.unwrap());
}

#[tokio::test]
async fn callers_that_leave_lose_no_turn() {
    let line = Admission::new(1);
    let turn = line.try_turn(Kind::Statement).unwrap();
    {
        // One leaves while it waits, one when its turn has come.
        let mut before = Box::pin(line.get(Kind::Statement, Standing::New));
        let mut after = Box::pin(line.get(Kind::Statement, Standing::New));
        assert!(is_waiting(before.as_mut()) && is_waiting(after.as_mut()));
        drop(before);
        drop(turn);
        assert!(!line.is_free());
        drop(after);
    }
    assert!(line.is_free());
    let _turn = line.try_turn(Kind::Statement).unwrap();
    let late = line.turn(Kind::Statement, Standing::New, Some(Instant::now()));
    assert!(matches!(late.await, Err(NoTurn::TimedOut(_))));
    let client = ClientState::default();
    let work = line.get(Kind::Statement, Standing::New);
    let mut work = pin!(on_behalf_of_client(client.watch(), work));
    assert!(is_waiting(work.as_mut()));
    drop(client);
    assert!(matches!(work.await, Err(NoTurn::ClientLeft)));
    assert_eq!(line.expected_wait(Kind::Statement), Duration::ZERO);
}

/// New requests are refused at once, and nothing else is.
#[tokio::test]
async fn who_would_wait_too_long_is_refused() {
    let line = Admission::new(1);
    let _turn = line.try_turn(Kind::Search).unwrap();
    line.lock()
        .record(Kind::Search, Duration::from_secs(2), false);
    let mut first = pin!(line.get(Kind::Search, Standing::New));
    assert!(is_waiting(first.as_mut()), "nobody else waits");
    let second = line.get(Kind::Search, Standing::New).now_or_never();
    let refused =
        matches!(second, Some(Err(NoTurn::Refused(wait))) if wait == Duration::from_secs(3));
    assert!(refused);
    let mut others = [
        Box::pin(line.get(Kind::Search, Standing::Begun)),
        Box::pin(line.get(Kind::Search, Standing::Own)),
        Box::pin(line.get(Kind::Statement, Standing::New)),
    ];
    for other in &mut others {
        assert!(is_waiting(other.as_mut()));
    }
}

/// What a turn was used for is known afterwards. To have one and not to start is no use.
#[tokio::test]
async fn the_time_of_a_turn_is_measured() {
    let line = Admission::new(1);
    let expected = |line: &Admission| {
        let turn = line.try_turn(Kind::Search).unwrap();
        let mut next = pin!(line.get(Kind::Search, Standing::New));
        assert!(is_waiting(next.as_mut()));
        let expected = line.expected_wait(Kind::Search);
        drop(turn);
        expected
    };
    let mut turn = line.try_turn(Kind::Search).unwrap();
    turn.start();
    std::thread::sleep(Duration::from_millis(30));
    drop(turn);
    let used = expected(&line);
    assert!(used >= Duration::from_millis(30), "{used:?}");
    assert_eq!(expected(&line), used);
}
