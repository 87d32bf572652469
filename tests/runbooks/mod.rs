//! The pages of docs/runbooks, executed: each fault is made for real, the page's commands
//! are typed in their order, and what they say is compared with what the page says.
//!
//! In a page, `<!-- fault: NAME -->` begins a scenario, `<!-- mended -->` stands where the
//! operator has done what the text says, `<!-- started -->` where the daemon was started.
//! A `sh` block is typed, the `text` block behind it is what it says: each line, in any
//! place, with `…` for any text; `exit N` is the exit code. Commands of a container
//! (`console docker`) are looked at, and run by the tests of the image.

mod faults;
mod page;
mod place;

use std::path::{Path, PathBuf};

use page::Step;
use place::Place;

/// The pages, each with a test below.
const PAGES: [&str; 8] = [
    "container-does-not-start",
    "database-connection-failed",
    "hot-reload-does-not-work",
    "migrations-failed",
    "move-to-a-pooler",
    "permission-denied",
    "slow-after-idle",
    "too-many-connections",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbooks")
}

/// No page is without a test, and none is missing in the list of them.
#[test]
fn every_page_is_listed_and_executed() {
    let index = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let mut pages: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".md").map(str::to_owned))
        .filter(|name| name != "README")
        .collect();
    pages.sort();
    assert_eq!(pages, PAGES);
    for page in PAGES {
        assert!(
            index.contains(&format!("]({page}.md)")),
            "{page} is not in the index"
        );
    }
}

/// Types a page from its beginning to its end.
async fn typed(page: &str) {
    let text = std::fs::read_to_string(folder().join(format!("{page}.md"))).unwrap();
    let steps = page::steps(&text);
    let mut place: Option<Place> = None;
    let mut faults = 0;
    for step in steps {
        match step {
            Step::Fault(name) => {
                if let Some(before) = place.take() {
                    before.leave().await;
                }
                place = Some(faults::make(&name).await);
                faults += 1;
            }
            Step::Mended => faults::mend(place.as_mut().expect("a fault")).await,
            Step::Started => place.as_mut().expect("a fault").start_daemon(),
            Step::Typed { command, says } => {
                let place = place
                    .as_ref()
                    .expect("a fault in front of the first command");
                place.types(&command).assert_says(page, &command, &says);
            }
            Step::Docker(command) => page::assert_docker(&command),
        }
    }
    assert!(faults > 0, "{page} has nothing that is executed");
    if let Some(last) = place {
        last.leave().await;
    }
}

macro_rules! pages {
    ($($name:ident => $page:literal,)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            assert!(PAGES.contains(&$page));
            typed($page).await;
        })*

        #[test]
        fn every_page_has_its_test() {
            assert_eq!([$($page),*], PAGES);
        }
    };
}

pages! {
    container_does_not_start => "container-does-not-start",
    database_connection_failed => "database-connection-failed",
    hot_reload_does_not_work => "hot-reload-does-not-work",
    migrations_failed => "migrations-failed",
    move_to_a_pooler => "move-to-a-pooler",
    permission_denied => "permission-denied",
    slow_after_idle => "slow-after-idle",
    too_many_connections => "too-many-connections",
}
