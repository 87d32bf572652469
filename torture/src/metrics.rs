//! What the daemons say they answered.

use std::collections::BTreeMap;

use crate::checker::{Kind, Violation};
use crate::daemon::TOKEN;
use crate::http::{Answer, Client, Request};
use crate::ledger::Pages;
use crate::world::World;

/// A daemon's metrics; `None` if it does not answer.
pub async fn metrics_of(port: u16) -> Option<String> {
    let request = Request {
        method: "GET",
        path: "/metrics".to_owned(),
        user: "probe".to_owned(),
        token: None,
        headers: Vec::new(),
        body: None,
    };
    match Client::new(port, TOKEN).send(&request).await {
        Answer::Status {
            code: 200, body, ..
        } => Some(body.as_str()?.to_owned()),
        _ => None,
    }
}

impl World {
    /// Compares the daemons' counts with the answers about tasks that the clients have had since
    /// the daemons started.
    pub(crate) async fn check_metrics(&self, pages: &Pages) -> Option<Violation> {
        let mut counted: BTreeMap<u16, u64> = BTreeMap::new();
        for &port in &self.ports {
            for line in metrics_of(port).await?.lines() {
                let Some(labels) = line.strip_prefix("http_requests_total{") else {
                    continue;
                };
                let (labels, count) = labels.split_once("} ")?;
                if labels.contains("route=\"/tasks") {
                    let status = labels.split("status=\"").nth(1)?.split('"').next()?;
                    *counted.entry(status.parse().ok()?).or_default() +=
                        count.parse::<u64>().ok()?;
                }
            }
        }
        let told = &pages.about_tasks;
        // A client that hung up may have been answered.
        let is_complete = !pages.statuses.contains_key(&0);
        (is_complete && *told != counted).then(|| {
            let text = format!("the daemons counted {counted:?} answers, and sent {told:?}");
            Violation::new(Kind::Answer, text)
        })
    }
}
