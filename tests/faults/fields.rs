//! What clients write into requests: fields, users, and routes that few ask for.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use reqwest::blocking::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::refused::asked;

const ERRORS: &str = "daemon.errors";
const DATABASE: &str = "daemon.database";

const PERSON: After = After::Person("the client has to be corrected, or what is in front");

faults! {
    REFUSED_FIELDS = Fault {
        title: "A client of another version sends fields that are not valid",
        symptom: Symptom::Risk("tasks are answered with 422"),
        check: ERRORS,
        outcome: "warn",
        after: PERSON,
    };
    MISSPELT_FIELDS = Fault {
        title: "A client spells the names of fields differently (dueDate)",
        symptom: Symptom::Risk("tasks are stored without these fields"),
        check: ERRORS,
        outcome: "warn",
        after: PERSON,
    };
    OTHER_USERS = Fault {
        title: "A service names users differently than when their tasks were created",
        symptom: Symptom::Risk("lists are empty, and tasks are 404"),
        check: DATABASE,
        outcome: "warn",
        after: PERSON,
    };
    RARE_ROUTE = Fault {
        title: "One route fails always, and few ask for it",
        symptom: Symptom::Risk("`GET /notifications` answers 500"),
        check: ERRORS,
        outcome: "warn",
        after: After::Typed("warn"),
    };
    SECOND_HEADER = Fault {
        title: "A proxy adds a second Access-Control-Allow-Origin",
        symptom: Symptom::Risk("browsers show users of the page nothing"),
        check: ERRORS,
        outcome: "warn",
        after: PERSON,
    };
}

fn service(request: RequestBuilder, token: &str, user: &str) -> RequestBuilder {
    request.bearer_auth(token).header("X-User-ID", user)
}

/// Creates a task of this body each time.
fn creating(url: &str, token: &str, body: Value) -> impl Fn(&Client) -> RequestBuilder + use<> {
    let (url, token) = (url.to_owned(), token.to_owned());
    move |client| service(client.post(&url), &token, "me").json(&body)
}

fn says(scene: &Scene, check: &str, said: &[&str]) {
    let report = scene.doctor(check);
    let text = report.json.to_string();
    assert!(!text.contains("canary"), "{text}");
    let detail = report.detail(check);
    for said in said {
        assert!(detail.contains(said), "{said:?} is not in {detail:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_are_refused() {
    let mut scene = Scene::sqlite().await;
    let token = scene.get("SERVICE_AUTH_TOKEN").unwrap();
    let base = scene.start_at_its_port();
    let url = format!("{base}/tasks/");
    let create = |body| creating(&url, &token, body);
    let other = json!({ "title": "canary", "priority": "canary", "due_date": "canary" });
    assert_eq!(asked(12, create(other)), [422; 12]);
    let page = format!("{url}?page=canary");
    let list = |client: &Client| service(client.get(&page), &token, "me");
    assert_eq!(asked(12, list), [422; 12]);
    scene.proves(&REFUSED_FIELDS).await;
    says(
        &scene,
        ERRORS,
        &[
            "had a body of another form (422) (due_date datetime_parsing, priority enum;",
            "12 of 12 GET /tasks/ had parameters that are not valid (422) (query.page int_parsing;",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_in_another_spelling() {
    let mut scene = Scene::sqlite().await;
    let token = scene.get("SERVICE_AUTH_TOKEN").unwrap();
    let base = scene.start_at_its_port();
    let url = format!("{base}/tasks/");
    let create = |body| creating(&url, &token, body);
    // A client may send more, and a task as it got it.
    let whole = json!({ "title": "a", "id": 1, "created_at": "x", "dueDate": 1, "due_date": null });
    assert_eq!(asked(20, create(whole)), [201; 20]);
    scene.doctor(ERRORS).says(ERRORS, "pass", "");
    let other = json!({ "title": "a", "dueDate": "2030-01-01T00:00:00Z", "canary": 1 });
    assert_eq!(asked(12, create(other)), [201; 12]);
    let query = format!("{url}?dueBefore=2030-01-01");
    let list = |client: &Client| service(client.get(&query), &token, "me");
    assert_eq!(asked(12, list), [200; 12]);
    scene.proves(&MISSPELT_FIELDS).await;
    says(
        &scene,
        ERRORS,
        &[
            "12 of 32 POST /tasks/ had a field or a parameter whose name is spelt differently here, and that was ignored (due_date;",
            "12 of 12 GET /tasks/ had a field or a parameter whose name is spelt differently here, and that was ignored (due_before;",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_another_user() {
    for mut scene in [Scene::sqlite().await, Scene::postgres().await] {
        let token = scene.get("SERVICE_AUTH_TOKEN").unwrap();
        let base = scene.start_at_its_port();
        for _ in 0..11 {
            assert_eq!(Scene::ask(&base, "POST", "/tasks/"), 201);
        }
        let ask = |id: u32| {
            let url = format!("{base}/tasks/{id}");
            asked(1, |client| {
                service(client.get(&url), &token, "me@canary.example")
            })
        };
        for id in 1..=9 {
            assert_eq!(ask(id), [404]);
        }
        scene.doctor(DATABASE).says(DATABASE, "pass", "");
        for id in 10..=12 {
            assert_eq!(ask(id), [404]);
        }
        scene.proves(&OTHER_USERS).await;
        says(
            &scene,
            DATABASE,
            &[
                "12 of the newest 12 requests for tasks that do not exist (404) were for tasks of other users",
            ],
        );
    }
}

/// However many others are answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_few_ask_for() {
    let mut scene = Scene::postgres().await;
    let base = scene.start_at_its_port();
    let live = format!("{base}/health/live");
    assert_eq!(asked(600, |client| client.get(&live)), [200; 600]);
    scene
        .sql("ALTER TABLE notifications RENAME TO canary")
        .await;
    for _ in 0..5 {
        assert_eq!(Scene::ask(&base, "GET", "/notifications"), 500);
    }
    scene.proves(&RARE_ROUTE).await;
    let detail = scene.doctor(ERRORS).detail(ERRORS).to_owned();
    assert!(detail.contains("5 of 5 GET /notifications"), "{detail}");
}

/// Answers each connection with what the daemon answers, and one header more.
fn proxy(base: &str, header: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let daemon = base.trim_start_matches("http://").to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
            let mut back = TcpStream::connect(&daemon).unwrap();
            back.write_all(head.as_bytes()).unwrap();
            let mut answer = String::new();
            back.read_to_string(&mut answer).unwrap();
            let line = format!("\r\n{header}\r\n");
            // The client may be gone.
            let _ = client.write_all(answer.replacen("\r\n", &line, 1).as_bytes());
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_header_of_a_proxy() {
    const PAGE: &str = "https://app.example.com";
    let mut scene = Scene::sqlite().await;
    scene.set("CORS_ORIGINS", PAGE);
    let token = scene.get("SERVICE_AUTH_TOKEN").unwrap();
    let base = scene.start_at_its_port();
    // What a browser does: it asks first, and goes on only if one header allows it.
    let browser = |base: &str| {
        let url = format!("{base}/tasks/");
        let ask = || {
            let client = crate::support::blocking_http_client();
            let as_page = |request: RequestBuilder| {
                let request = request.header("Origin", PAGE);
                request.header("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)")
            };
            let preflight = as_page(client.request(reqwest::Method::OPTIONS, &url));
            let preflight = preflight.header("Access-Control-Request-Method", "GET");
            let answer = preflight.send().unwrap();
            assert_eq!(answer.status(), 200);
            let allowed = answer.headers().get_all("Access-Control-Allow-Origin");
            let goes_on = allowed.iter().count() == 1;
            if goes_on {
                let request = service(as_page(client.get(&url)), &token, "me");
                assert_eq!(request.send().unwrap().status(), 200);
            }
            goes_on
        };
        std::thread::scope(|scope| scope.spawn(ask).join().unwrap())
    };
    for _ in 0..12 {
        assert!(browser(&base));
    }
    scene.doctor(ERRORS).says(ERRORS, "pass", "");
    scene.stop();
    let base = scene.start_at_its_port();
    let proxy = proxy(&base, "Access-Control-Allow-Origin: *");
    for _ in 0..12 {
        assert!(!browser(&proxy));
    }
    scene.proves(&SECOND_HEADER).await;
    says(
        &scene,
        ERRORS,
        &[
            "12 preflights of the page https://app.example.com were allowed within 15 min, and 0 requests followed",
        ],
    );
}
