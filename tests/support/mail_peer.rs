//! A stand-in for the mail provider.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::http_peer::{Answer, HttpPeer, Received};

/// A server that accepts every mail, except those for which the test sets another answer.
pub struct MailPeer {
    peer: HttpPeer,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

impl MailPeer {
    pub async fn start() -> Self {
        let answers: Arc<Mutex<VecDeque<Answer>>> = Arc::default();
        let script = answers.clone();
        let peer = HttpPeer::start(move |request| {
            if request.path == "/domains" {
                let domain = json!({ "name": "example.com", "status": "verified" });
                return Answer::Json(200, json!({ "data": [domain] }));
            }
            let told = script.lock().unwrap().pop_front();
            told.unwrap_or_else(|| Self::status(200))
        })
        .await;
        Self { peer, answers }
    }

    /// An answer that has this status.
    pub fn status(status: u16) -> Answer {
        Answer::Json(
            status,
            json!({ "id": "49a3999c-0ce1-4ea6-ab68-afcd6dc2e794" }),
        )
    }

    /// What `RESEND_API_URL` is set to.
    pub fn url(&self) -> url::Url {
        self.peer.url.parse().unwrap()
    }

    /// The next answers, in this order.
    pub fn will_answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.answers.lock().unwrap().extend(answers);
    }

    /// Everything that arrived so far.
    pub fn received(&self) -> Vec<Received> {
        self.peer.received()
    }
}
