//! Notifications: who reads them, and what is read afterwards.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use crate::answers::micros;
use crate::checker::{Kind, Violation};
use crate::database::Database;
use crate::http::Answer;
use crate::ledger::Mark;
use crate::round::{Round, USERS};
use crate::workload::Worker;

/// The most notifications in a list.
const LISTED: usize = 50;

/// Tasks of each user that another service writes notifications about, and how many of each.
const TOLD: &str = "12";

/// What begins the message of a notification of another service. Messages of reminders begin with a
/// quotation mark.
const OTHERS: &str = "another service";

impl Worker {
    /// Lists notifications, and marks one or all of them as read.
    pub(crate) async fn notifications(&mut self) {
        self.sent += 1;
        let request = self.request("GET", "/notifications/", None);
        let Answer::Status {
            code: 200, body, ..
        } = self.send(&request).await
        else {
            return;
        };
        let user = self.round.user(self.user);
        let Some(listed) = listed(&body, &user) else {
            let text = format!("notifications for {user}: {body}");
            return self.round.ledger.complain(text);
        };
        if listed.is_empty() {
            return;
        }
        let id = listed[self.rng.usize(..listed.len())];
        match self.rng.u8(..12) {
            0 => self.mark(user, None, listed).await,
            1 => {
                self.user = (self.user + 1) % USERS;
                let path = format!("/notifications/{id}/read");
                let request = self.request("PATCH", &path, None);
                if let Answer::Status { code, body, .. } = self.send(&request).await
                    && !matches!(code, 404 | 503)
                {
                    let text = format!("PATCH {path} as another user: {code} {body}");
                    self.round.ledger.complain(text);
                }
            }
            _ => self.mark(user, Some(id), listed).await,
        }
    }

    async fn mark(&mut self, user: String, id: Option<i64>, listed: Vec<i64>) {
        let request = match id {
            Some(id) => self.request("PATCH", &format!("/notifications/{id}/read"), None),
            None => self.request("POST", "/notifications/read-all", None),
        };
        let status = match self.send(&request).await {
            Answer::Status { code, body, .. } => {
                let is_read = id.is_none() || body["is_read"] == true && body["id"] == json!(id);
                if matches!(code, 200) && !is_read {
                    let text = format!("PATCH {}: {body}", request.path);
                    self.round.ledger.complain(text);
                }
                code
            }
            Answer::NotSent => return,
            Answer::Lost | Answer::Silent => 0,
        };
        self.round.ledger.mark(Mark {
            user,
            id,
            status,
            listed,
        });
    }
}

/// The ids of a list; `None` if it contradicts itself.
fn listed(body: &Value, user: &str) -> Option<Vec<i64>> {
    let listed = body["notifications"].as_array()?;
    let place = |one: &Value| Some((micros(&one["created_at"])?, one["id"].as_i64()?));
    let places = listed.iter().map(place).collect::<Option<Vec<_>>>()?;
    let is_own = listed.iter().all(|one| one["user_id"] == *user);
    let unread = listed.iter().filter(|one| one["is_read"] == false).count();
    let told = usize::try_from(body["unread_count"].as_u64()?).ok()?;
    let is_counted = if listed.len() < LISTED {
        told == unread
    } else {
        told >= unread
    };
    let is_sorted = places.windows(2).all(|pair| pair[0] > pair[1]);
    (is_own && is_counted && is_sorted && listed.len() <= LISTED)
        .then(|| places.into_iter().map(|(_, id)| id).collect())
}

impl Database {
    /// Notifications of another service about tasks of the clients that meet, three about each. What
    /// keeps the database from working keeps this from happening.
    pub async fn notify(&self, round: &Round) {
        let now = match self {
            Self::Postgres { .. } => "now()",
            Self::Sqlite(_) => "CAST(unixepoch('subsec') * 1000000 AS integer)",
        };
        for user in (0..USERS).map(|index| round.user(index)) {
            let statement = format!(
                "INSERT INTO notifications (user_id, task_id, type, message, is_read, sent_email, created_at)
                 SELECT user_id, id, 'due_soon', '{OTHERS} ' || number, number = 'read', FALSE, {now}
                 FROM (SELECT user_id, id FROM tasks WHERE user_id = '{user}' ORDER BY id DESC LIMIT {TOLD}) AS newest,
                    (SELECT 'first' AS number UNION ALL SELECT 'second' UNION ALL SELECT 'read') AS numbers"
            );
            let _ = self.execute(&statement).await;
        }
    }

    /// What was marked as read is read, nothing else is, and each belongs to a task.
    pub async fn check_marks(
        &self,
        prefix: &str,
        marks: &[Mark],
    ) -> anyhow::Result<Vec<Violation>> {
        let query = format!(
            "SELECT n.id, n.user_id, n.is_read, n.message, tasks.user_id FROM notifications n
             LEFT JOIN tasks ON tasks.id = n.task_id WHERE n.user_id LIKE '{prefix}%'"
        );
        let rows: Vec<(i64, String, bool, String, Option<String>)> = self.rows(&query).await?;
        let by_id: HashMap<i64, bool> = rows.iter().map(|row| (row.0, row.2)).collect();
        let mut violations = Vec::new();
        let mut complain = |text: String| violations.push(Violation::new(Kind::Unread, text));
        let mut tried: HashSet<i64> = HashSet::new();
        let mut all: HashSet<&str> = HashSet::new();
        for mark in marks {
            match mark.id {
                Some(id) => drop(tried.insert(id)),
                None => drop(all.insert(&mark.user)),
            }
            let named = mark.id.map_or(&mark.listed[..], |_| &[]);
            let named = named.iter().copied().chain(mark.id);
            for id in named {
                match (mark.status, by_id.get(&id)) {
                    (200 | 204, Some(false)) => complain(format!("{id} is unread after {mark:?}")),
                    (404, Some(_)) => complain(format!("{id} is there although {mark:?}")),
                    _ => {}
                }
            }
        }
        for (id, user, is_read, message, owner) in &rows {
            let is_marked = tried.contains(id) || all.contains(user.as_str());
            let was_read = message.ends_with("read") && message.starts_with(OTHERS);
            if *is_read && !is_marked && !was_read {
                complain(format!("nobody marked {id} of {user} as read"));
            }
            if owner.as_ref() != Some(user) {
                complain(format!("{id} of {user} is about a task of {owner:?}"));
            }
        }
        Ok(violations)
    }
}
