//! What makes up the operations of a history.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use todoctl::domain::{Priority, Timestamp};

use super::requests::*;
use crate::support::texts::text;

/// What a user was given so far.
#[derive(Debug, Clone)]
pub struct Given {
    pub tasks: usize,
    pub tags: usize,
    pub cursors: usize,
    /// What each notification is about, as in [`Request::MarkRead`].
    pub notices: Vec<(TaskRef, bool, usize)>,
}

/// The next step, where each user was given this many tasks, tags and cursors.
pub fn step(given: &[Given]) -> BoxedStrategy<Step> {
    let hours = prop_oneof![
        4 => 1..3 * HOUR,
        2 => Just(24 * HOUR),
        1 => 20 * HOUR..30 * HOUR,
        1 => -HOUR..0,
    ];
    prop_oneof![
        12 => call(given).prop_map(|call| Step::Calls(vec![call])),
        6 => prop::collection::vec(call(given), 2..12).prop_map(Step::Calls),
        2 => hours.prop_map(Step::Clock),
        2 => Just(Step::Remind),
        1 => Just(Step::Unfold),
        1 => Just(Step::Fold),
    ]
    .boxed()
}

fn call(given: &[Given]) -> BoxedStrategy<Call> {
    let given = given.to_vec();
    (0..USERS.len())
        .prop_flat_map(move |user| {
            request(user, &given).prop_map(move |request| Call { user, request })
        })
        .boxed()
}

fn request(user: usize, given: &[Given]) -> BoxedStrategy<Request> {
    let own = &given[user];
    let any_id = || id(user, given);
    let when = || conditions(own.tags);
    let keys = || select(&["k1", "k2"][..]);
    let page = prop::option::of(prop_oneof![4 => 1..5_i64, 1 => Just(i64::MAX)]);
    let limit = || prop::option::of(prop_oneof![4 => 1..4_i64, 1 => Just(1000)]);
    prop_oneof![
        8 => body(8).prop_map(|body| Request::Create { body, key: None }),
        1 => (body(8), keys()).prop_map(|(body, key)| Request::Create { body, key: Some(key) }),
        4 => (any::<bool>(), keys()).prop_map(|(is_other, key)| Request::Create {
            body: Body::titled(if is_other { "again" } else { "once" }),
            key: Some(key),
        }),
        1 => body(8).prop_filter("a good body", Body::is_good).prop_map(|body| {
            Request::Create { body, key: Some("not visible") }
        }),
        4 => (any_id(), when()).prop_map(|(id, when)| Request::Read(id, when)),
        6 => (any_id(), body(2), when()).prop_map(|(id, body, when)| Request::Update(id, body, when)),
        4 => (any_id(), flag(8), when()).prop_map(|(id, flag, when)| Request::Complete(id, flag, when)),
        2 => (any_id(), when()).prop_map(|(id, when)| Request::Delete(id, when)),
        1 => prop::collection::vec(any_id(), 1..6).prop_map(Request::BulkDelete),
        6 => (filter(), page, limit(), refused(), when()).prop_map(
            |(filter, page, limit, refused, conditions)| Request::List {
                filter, page, limit, refused, conditions,
            }
        ),
        6 => (filter(), limit(), from(user, given)).prop_map(
            |(filter, limit, from)| Request::Continue { filter, limit, from }
        ),
        4 => Just(Request::Notifications),
        2 => notice(user, given),
        1 => Just(Request::MarkAllRead),
    ]
    .boxed()
}

/// Mostly one of the user's own notifications.
fn notice(user: usize, given: &[Given]) -> BoxedStrategy<Request> {
    let any = (task(user, given), any::<bool>(), 0..2_usize).boxed();
    let own = &given[user].notices;
    let one = if own.is_empty() {
        any
    } else {
        prop_oneof![4 => select(own.clone()), 1 => any].boxed()
    };
    one.prop_map(|(task, is_overdue, number)| Request::MarkRead(task, is_overdue, number))
        .boxed()
}

/// Mostly one of the user's own tasks, sometimes another user's, or one that does not exist yet.
fn task(user: usize, given: &[Given]) -> BoxedStrategy<TaskRef> {
    let other = (user + 1) % USERS.len();
    let of = |owner: usize, beyond: usize| {
        let numbers = 0..(given[owner].tasks + beyond).max(1);
        numbers.prop_map(move |number| TaskRef { owner, number })
    };
    prop_oneof![12 => of(user, 0), 1 => of(user, 1), 2 => of(other, 1)].boxed()
}

fn id(user: usize, given: &[Given]) -> BoxedStrategy<Id> {
    prop_oneof![
        12 => task(user, given).prop_map(Id::Task),
        1 => select(&["0", "-5", "99999999999999999999"][..]).prop_map(Id::Impossible),
        1 => Just(Id::Word),
    ]
    .boxed()
}

fn from(user: usize, given: &[Given]) -> BoxedStrategy<From> {
    let other = (user + 1) % USERS.len();
    let of = |owner: usize| {
        (0..=given[owner].cursors).prop_map(move |number| From::Seen { owner, number })
    };
    prop_oneof![2 => Just(From::Start), 6 => of(user), 1 => of(other)].boxed()
}

fn conditions(tags: usize) -> BoxedStrategy<Conditions> {
    let tags = || {
        // The newest tags are those of tasks that did not change since.
        let tag = (0..4_usize).prop_map(move |back| tags.saturating_sub(back));
        prop_oneof![
            1 => Just(Tags::Any),
            5 => prop::collection::vec((tag, any::<bool>()), 1..3).prop_map(Tags::These),
        ]
    };
    prop_oneof![
        6 => Just(Conditions::default()),
        2 => tags().prop_map(|tags| Conditions { if_match: Some(tags), if_none_match: None }),
        2 => tags().prop_map(|tags| Conditions { if_match: None, if_none_match: Some(tags) }),
    ]
    .boxed()
}

fn filter() -> BoxedStrategy<Filter> {
    let flags = [("true", true), ("0", false), ("Yes", true), ("off", false)];
    let rarely = |weight| prop::option::weighted(weight, 8..14_u32);
    (
        prop::option::weighted(0.5, text(0..3)),
        prop::option::weighted(0.2, select(&Priority::ALL[..])),
        prop::option::weighted(0.2, select(flags.to_vec())),
        rarely(0.2),
        rarely(0.2),
    )
        .prop_map(
            |(search, priority, completed, due_before, due_after)| Filter {
                search,
                priority,
                completed,
                due_before,
                due_after,
            },
        )
        .boxed()
}

fn refused() -> BoxedStrategy<Option<Refused>> {
    let queries: [Refused; 8] = [
        ("search=a%00", "query.search", "value_error"),
        ("priority=high", "query.priority", "enum"),
        ("completed=", "query.completed", "bool_parsing"),
        (
            "due_before=x",
            "query.due_before",
            "date_from_datetime_parsing",
        ),
        (
            "due_after=2031-05-01T01:00:00Z",
            "query.due_after",
            "date_from_datetime_inexact",
        ),
        ("page=0", "query.page", "greater_than_equal"),
        ("limit=1001", "query.limit", "less_than_equal"),
        ("page=9223372036854775808", "query.page", "int_parsing"),
    ];
    prop::option::weighted(0.1, select(queries.to_vec())).boxed()
}

/// A field that is there with the weight `present`, against one for absent and little for null and
/// for wrong values.
fn field<T: Clone + std::fmt::Debug + 'static>(
    present: u32,
    good: impl Strategy<Value = T> + 'static,
    wrong: &[(Value, &'static str)],
) -> BoxedStrategy<Field<T>> {
    let wrong = select(wrong.to_vec());
    prop_oneof![
        12 * present => good.prop_map(Field::Is),
        12 => Just(Field::Absent),
        3 => Just(Field::Null),
        1 => wrong.prop_map(|(value, code)| Field::Wrong(value, code)),
    ]
    .boxed()
}

fn flag(present: u32) -> BoxedStrategy<Field<bool>> {
    field(
        present,
        any::<bool>(),
        &[(json!("true"), "bool_type"), (json!(1), "bool_type")],
    )
}

/// A body whose title is there with the weight `titled`.
fn body(titled: u32) -> BoxedStrategy<Body> {
    let padded = |length| {
        let blank = select(&["", "", " ", "\u{3000}", "\n"][..]);
        (blank.clone(), text(length), blank)
            .prop_map(|(before, text, after)| format!("{before}{text}{after}"))
    };
    let title = padded(1..7).prop_filter("not blank", |text| !text.trim().is_empty());
    let wrong_texts = |most: usize| {
        vec![
            (json!("x".repeat(most + 1)), "string_too_long"),
            (json!("a\0b"), "value_error"),
            (json!(5), "string_type"),
        ]
    };
    let mut wrong_titles = wrong_texts(200);
    wrong_titles.extend([
        (json!(""), "string_too_short"),
        (json!(" \u{a0}"), "value_error"),
    ]);
    (
        field(titled, title, &wrong_titles),
        field(1, padded(0..7), &wrong_texts(1000)),
        field(
            1,
            select(&Priority::ALL[..]),
            &[(json!("high"), "enum"), (json!(1), "enum")],
        ),
        field(
            2,
            due(),
            &[
                (json!("2031-02-30"), "datetime_parsing"),
                (json!(""), "datetime_parsing"),
                (json!(1_900_000_000), "datetime_type"),
            ],
        ),
        flag(1),
    )
        .prop_map(|(title, description, priority, due_date, completed)| Body {
            title,
            description,
            priority,
            due_date,
            completed,
        })
        .boxed()
}

/// Around the time of a history, in one of the forms of contract 3.3.
fn due() -> BoxedStrategy<Due> {
    let start: Timestamp = START.parse().unwrap();
    let near = (-40 * HOUR..60 * HOUR).prop_map(move |micros| start.micros() + micros);
    // Few different ones, so that some are set twice.
    let round = (-2..3_i64).prop_map(move |hours| start.micros() + hours * 12 * HOUR);
    (prop_oneof![near, round], 0..4_u8)
        .prop_map(|(micros, form)| {
            let at = Timestamp::from_micros(micros).unwrap();
            let utc = at.to_datetime();
            let (text, at) = match form {
                0 => (at.to_string(), at),
                1 => (utc.format("%Y-%m-%dT%H:%M:%S%.6f").to_string(), at),
                2 => {
                    let there = utc + chrono::TimeDelta::minutes(330);
                    (there.format("%Y-%m-%d %H:%M:%S%.6f+0530").to_string(), at)
                }
                _ => (
                    utc.format("%Y-%m-%d").to_string(),
                    Timestamp::start_of_day(utc.date_naive()).unwrap(),
                ),
            };
            Due { text, at }
        })
        .boxed()
}
