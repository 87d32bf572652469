//! A model of the API: the same random operations on SQLite, on PostgreSQL and in memory have the
//! same answers.
//!
//! The operations are HTTP requests to two daemons in this process, because clients know nothing
//! else: the validation of requests, conditions, cursors and the rendering of answers are tried
//! too, and a request takes little more than its statements. Up to a dozen requests of four users
//! are sent at the same time. Users do not see each other, so their order does not matter for the
//! answers, but the daemons run them in shared statements. Both daemons and the model have one
//! clock, which stands still between the steps, so times are compared as they are. Ids are
//! compared by the order in which a user was given them.
//!
//! A failure prints the shortest history that was found and the command that repeats it.
//! `TODOCTL_MODEL_SECONDS` is the time for histories of a random seed (25), `TODOCTL_MODEL_SEED`
//! is that seed; `cargo nextest run --profile long model::` does not end a test that takes long.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use proptest_state_machine::ReferenceStateMachine;
use todoctl::clock::Clock;

use crate::support::Engine::{Postgres, Sqlite};
use answer::Answer;
use reference::Model;
use requests::{Call, Filter, From, Request, Step, USERS};
use system::System;

mod account;
mod answer;
mod encoding;
mod reference;
mod requests;
mod strategies;
mod system;
mod task;

/// The seeds that are tried always, and the histories of each.
const SEEDS: [u64; 3] = [1, 2, 3];
const HISTORIES: u32 = 8;

/// The most steps of a history.
const STEPS: usize = 60;

/// What the histories of [`SEEDS`] have to try.
const ANSWERS: [(&str, u16); 29] = [
    ("create", 201),
    ("create", 400),
    ("create", 422),
    ("replay", 201),
    ("read", 200),
    ("read", 304),
    ("read", 404),
    ("read", 412),
    ("read", 422),
    ("update", 200),
    ("update", 404),
    ("update", 412),
    ("update", 422),
    ("complete", 200),
    ("complete", 404),
    ("complete", 412),
    ("complete", 422),
    ("delete", 204),
    ("delete", 404),
    ("delete", 412),
    ("bulk delete", 200),
    ("list", 200),
    ("list", 304),
    ("list", 422),
    ("continue", 200),
    ("continue", 422),
    ("notifications", 200),
    ("mark read", 200),
    ("mark all read", 204),
];

struct Histories;

impl ReferenceStateMachine for Histories {
    type State = Model;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Model> {
        Just(Model::new()).boxed()
    }

    fn transitions(model: &Model) -> BoxedStrategy<Step> {
        strategies::step(&model.given())
    }

    fn apply(mut model: Model, step: &Step) -> Model {
        model.apply(step);
        model
    }
}

struct Systems {
    clock: Clock,
    engines: [System; 2],
    /// How often a kind of request had a status.
    answers: BTreeMap<(&'static str, u16), usize>,
}

impl Systems {
    async fn start() -> Self {
        let clock = Clock::fixed(Model::new().now());
        let engines = [
            System::start(Sqlite, clock.clone()).await,
            System::start(Postgres, clock.clone()).await,
        ];
        Self {
            clock,
            engines,
            answers: BTreeMap::new(),
        }
    }

    /// `seen` counts the steps that were done.
    async fn try_history(
        &mut self,
        steps: &[Step],
        seen: Option<&AtomicUsize>,
    ) -> Result<(), TestCaseError> {
        let mut model = Model::new();
        self.clock.set(model.now());
        for system in &mut self.engines {
            system.reset().await;
        }
        for (number, step) in steps.iter().chain([&everything()]).enumerate() {
            if let Some(seen) = seen {
                seen.fetch_add(1, Ordering::SeqCst);
            }
            let expected = model.apply(step);
            self.clock.set(model.now());
            for system in &mut self.engines {
                let answers = system.apply(step).await.map_err(TestCaseError::fail)?;
                count(&mut self.answers, step, &answers);
                prop_assert_eq!(
                    &answers,
                    &expected,
                    "{:?}, step {}: {:#?}",
                    system.engine(),
                    number,
                    step
                );
            }
        }
        Ok(())
    }
}

fn count(counts: &mut BTreeMap<(&'static str, u16), usize>, step: &Step, answers: &[Answer]) {
    let Step::Calls(calls) = step else { return };
    for (call, answer) in calls.iter().zip(answers) {
        let kind = if answer.is_replayed {
            "replay"
        } else {
            call.request.kind()
        };
        *counts.entry((kind, answer.status)).or_default() += 1;
    }
}

/// All tasks and notifications of each user.
fn everything() -> Step {
    let lists = |user| {
        let tasks = Request::Continue {
            filter: Filter::default(),
            limit: None,
            from: From::Start,
        };
        [tasks, Request::Notifications].map(|request| Call { user, request })
    };
    Step::Calls((0..USERS.len()).flat_map(lists).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_engines_answer_as_the_model() {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap())
    };
    let time = Duration::from_secs(number("TODOCTL_MODEL_SECONDS").unwrap_or(25));
    let random = number("TODOCTL_MODEL_SEED").unwrap_or_else(|| getrandom::u64().unwrap());
    let systems = RefCell::new(Systems::start().await);
    for seed in SEEDS {
        run(&systems, seed, |histories| histories == HISTORIES);
    }
    for kind_and_status in ANSWERS {
        let is_tried = systems.borrow().answers.contains_key(&kind_and_status);
        assert!(is_tried, "{kind_and_status:?} is not among the answers");
    }
    println!("random seed: {random}");
    let started = Instant::now();
    run(&systems, random, |_| started.elapsed() > time);
    println!("{:#?}", systems.borrow().answers);
}

/// Tries histories of one seed until their number is enough.
fn run(systems: &RefCell<Systems>, seed: u64, is_enough: impl Fn(u32) -> bool) {
    let runtime = tokio::runtime::Handle::current();
    let mut runner = TestRunner::new(Config {
        max_shrink_iters: 2000,
        max_shrink_time: 60_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    });
    let strategy = Histories::sequential_strategy(1..STEPS);
    for number in 1.. {
        let history = strategy.new_tree(&mut runner).unwrap();
        let outcome = runner.run_one(history, |(_, steps, seen)| {
            let mut systems = systems.borrow_mut();
            let trying = systems.try_history(&steps, seen.as_deref());
            tokio::task::block_in_place(|| runtime.block_on(trying))
        });
        match outcome {
            Ok(_) if is_enough(number) => return,
            Ok(_) => {}
            Err(TestError::Fail(reason, (_, steps, _))) => panic!(
                "{reason}\n{steps:#?}\nhistory {number} of \
                 TODOCTL_MODEL_SEED={seed} cargo nextest run model::"
            ),
            Err(error) => panic!("{error}"),
        }
    }
}
