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
}
