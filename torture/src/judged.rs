//! Requests whose answers are judged at once, and not entered in the ledger.

use serde_json::json;

use crate::http::Answer;
use crate::round::USERS;
use crate::workload::Worker;

impl Worker {
    /// Requests for another user's task, which must not find it.
    pub(crate) async fn trespass(&mut self, id: i64) {
        let title = self.fresh('x');
        let owner = self.user;
        self.user = (owner + 1) % USERS;
        let path = format!("/tasks/{id}");
        let request = match self.rng.u8(..4) {
            0 => self.request("GET", &path, None),
            1 => self.request("DELETE", &path, None),
            2 => self.request(
                "POST",
                "/tasks/bulk-delete",
                Some(json!({ "task_ids": [id] })),
            ),
            _ => self.request("PUT", &path, Some(json!({ "title": title }))),
        };
        if let Answer::Status { code, body, .. } = self.send(&request).await {
            let is_refused = matches!(code, 404 | 503) || body["deleted"] == json!([]);
            if !is_refused {
                let text = format!(
                    "{} {} as another user: {code} {body}",
                    request.method, request.path
                );
                self.round.ledger.complain(text);
            }
        }
    }

    pub(crate) async fn notifications(&mut self) {
        self.sent += 1;
        let request = self.request("GET", "/notifications/", None);
        let Answer::Status {
            code: 200, body, ..
        } = self.send(&request).await
        else {
            return;
        };
        let listed = body["notifications"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let user = self.round.user(self.user);
        if listed.iter().any(|one| one["user_id"] != *user) {
            self.round
                .ledger
                .complain(format!("notifications of another user for {user}: {body}"));
        }
        let unread = listed.iter().filter(|one| one["is_read"] == false).count();
        if listed.len() < 50 && body["unread_count"] != json!(unread) {
            self.round.ledger.complain(format!(
                "an unread count that is not that of the list: {body}"
            ));
        }
        let Some(id) = listed.first().and_then(|one| one["id"].as_i64()) else {
            return;
        };
        let request = if self.rng.u8(..5) == 0 {
            self.request("POST", "/notifications/read-all", None)
        } else {
            self.request("PATCH", &format!("/notifications/{id}/read"), None)
        };
        self.send(&request).await;
    }
}
