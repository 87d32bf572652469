use super::*;

fn session(expires_at: i64, revoked_at: Option<i64>) -> Session {
    let at = Timestamp::from_micros_clamped;
    Session {
        id: 7,
        user_id: "usr_1".to_owned(),
        label: None,
        created_at: at(0),
        expires_at: at(expires_at),
        revoked_at: revoked_at.map(at),
    }
}

#[test]
fn states_follow_the_clock() {
    let now = Timestamp::from_micros_clamped(10);
    assert_eq!(State::of(&session(11, None), now), State::Active);
    assert_eq!(State::of(&session(10, None), now), State::Expired);
    assert_eq!(State::of(&session(11, Some(5)), now), State::Revoked);
    assert_eq!(State::of(&session(9, Some(5)), now), State::Revoked);
}

#[test]
fn the_list_contains_no_token() {
    let listed = Listed {
        sessions: vec![ListedSession {
            state: State::Active,
            session: session(1_000_000, None),
        }],
    };
    assert_eq!(
        serde_json::to_value(listed).unwrap(),
        serde_json::json!({"sessions": [{
            "id": 7, "user_id": "usr_1", "label": null, "state": "active",
            "created_at": "1970-01-01T00:00:00Z", "expires_at": "1970-01-01T00:00:01Z",
            "revoked_at": null,
        }]})
    );
}

#[test]
fn tokens_differ_and_do_not_look_like_jwts() {
    let (one, two) = (new_token().unwrap(), new_token().unwrap());
    assert_ne!(one, two);
    assert_eq!(one.len(), 5 + 64);
    assert!(one.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
}

#[test]
fn the_hint_does_not_repeat_the_token() {
    let created = Created {
        id: 3,
        token: "todo_secret",
        user_id: &UserId::new("usr_1").unwrap(),
        label: None,
        expires_at: Timestamp::from_micros_clamped(0),
    };
    let hint = hint(&created, "http://127.0.0.1:8000");
    assert!(!hint.contains("todo_secret"));
    assert!(
        hint.ends_with("curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:8000/tasks/")
    );
}

#[test]
fn lifetimes() {
    assert_eq!(ttl("7d"), Ok(Duration::from_secs(7 * 86_400)));
    assert_eq!(ttl("1s"), Ok(Duration::from_secs(1)));
    assert!(ttl("10years").is_ok());
    for text in [
        "0s",
        "999ms",
        "11years",
        "7",
        "",
        "-1d",
        "forever",
        "999999999999999years",
    ] {
        assert!(ttl(text).is_err(), "{text:?}");
    }
}

#[test]
fn labels_and_users_are_checked() {
    assert_eq!(label(" laptop "), Ok("laptop".to_owned()));
    assert!(label("  ").is_err());
    assert!(label(&"x".repeat(201)).is_err());
    assert!(user_id("  ").is_err());
}

#[test]
fn the_list_does_not_steer_the_terminal() {
    let mut session = session(1, None);
    session.user_id = "usr\u{1b}[2J".to_owned();
    session.label = Some("a\u{7}\nb\u{9b}".to_owned());
    let listed = ListedSession {
        session,
        state: State::Expired,
    };
    let row = listed.row();
    assert_eq!(row[1..3], ["usr\\u{1b}[2J", "a\\u{7}\\nb\\u{9b}"]);
    assert!(row.concat().chars().all(|one| !one.is_control()));
}
