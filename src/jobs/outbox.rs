//! Sends the mails in the outbox.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::services::mail::{self, Mail, Mailer, SendError};
use crate::store::{
    NO_ACCOUNT, NO_ADDRESS, NOT_READ, NOT_TRIED, OutboxEnd, OutboxMail, Store, StoreError,
};
use crate::telemetry::JobMetrics;

use super::stop::Stop;

/// Mails claimed together.
const BATCH: i64 = 10;

/// How long a claim lasts: longer than sending its mails takes if each times out.
const CLAIM: Duration = Duration::from_secs(180);

/// The pause after the first attempt, without jitter; it doubles with each attempt.
const FIRST_WAIT: Duration = Duration::from_secs(30);

/// The longest pause between two attempts, without jitter.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// How long no mail is tried after the provider refused the configuration. Some of its faults are
/// corrected at the provider, without a restart.
const PAUSE: Duration = Duration::from_mins(15);

/// How far back outcomes are told: a fault that was corrected a day ago needs nobody any more.
const TOLD: Duration = Duration::from_hours(24);

/// How long rows of sent mails are kept.
const KEEP_SENT: Duration = Duration::from_hours(7 * 24);

/// How long rows of mails that were given up are kept.
const KEEP_DEAD: Duration = Duration::from_hours(30 * 24);

/// The accounts that are known, each with its address if it has one.
type Addresses = HashMap<String, Option<String>>;

/// The outcome of [`Outbox::deliver`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Delivered {
    /// Mails that the provider accepted.
    pub sent: usize,
    /// Failed attempts that will be repeated.
    pub postponed: usize,
    /// Mails to users without an address.
    pub skipped: usize,
    /// Mails that were given up.
    pub dead: usize,
}

/// Sends mails out of the store.
#[derive(Debug, Clone)]
pub struct Outbox {
    store: Store,
    clock: Clock,
    mailer: Mailer,
    metrics: JobMetrics,
    /// Until when no mail is tried.
    paused: Arc<Mutex<Option<Timestamp>>>,
}

impl Outbox {
    /// The store's outbox, sent with `mailer`.
    #[must_use]
    pub fn new(store: Store, clock: Clock, mailer: Mailer, metrics: JobMetrics) -> Self {
        Self {
            store,
            clock,
            mailer,
            metrics,
            paused: Arc::default(),
        }
    }

    /// Tries every due mail once. After `stop`, finishes the mail in progress and returns.
    pub async fn deliver(&self, stop: &Stop) -> Result<Delivered, StoreError> {
        let mut done = Delivered::default();
        while !stop.is_set() && self.paused_until().is_none() {
            let until = self.clock.now().saturating_add(CLAIM);
            let mails = self.store.claim_mails(until, BATCH).await?;
            if mails.is_empty() {
                break;
            }
            let addresses = self.addresses(&mails).await;
            for mail in &mails {
                let almost_over = self.clock.now().saturating_add(2 * mail::TIMEOUT) > until;
                if stop.is_set() || almost_over || self.paused_until().is_some() {
                    // Release the claim, so that another process can send it.
                    let end = OutboxEnd::Paused(NOT_TRIED.to_owned());
                    self.store.end_mail(mail, &end).await?;
                    continue;
                }
                let end = match &addresses {
                    Ok(known) => self.send(mail, known).await,
                    Err(error) => {
                        tracing::warn!(%error, "cannot read the users' addresses");
                        self.later(mail, NOT_READ.to_owned(), None)
                    }
                };
                self.count(mail, &end, &mut done);
                self.store.end_mail(mail, &end).await?;
            }
        }
        Ok(done)
    }

    /// When the next attempt is due, if a mail waits. Also updates the gauges.
    pub async fn next(&self) -> Result<Option<Timestamp>, StoreError> {
        let status = self.store.outbox_status().await?;
        let since = self.clock.now().saturating_sub(TOLD);
        let outcomes = self.store.mail_outcomes(since).await?;
        self.metrics
            .set_outbox(status.pending, status.dead, outcomes);
        if status.pending == 0 {
            // Another process has sent those for which it paused.
            *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = None;
            self.metrics.resume_outbox();
        }
        Ok(status.next.max(status.next.and(self.paused_until())))
    }

    /// Whether mails wait because the provider refuses the configuration.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused_until().is_some()
    }

    /// Until when no mail is tried; `None` if mails are sent.
    fn paused_until(&self) -> Option<Timestamp> {
        let until = *self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        until.filter(|until| *until > self.clock.now())
    }

    /// Stops trying for a while, because every mail would be refused.
    fn pause(&self, reason: &str) {
        let until = self.clock.now().saturating_add(PAUSE);
        tracing::error!(
            reason,
            next = %until,
            "the mail provider refuses the configuration; mails wait up to 24 hours: correct RESEND_API_KEY, EMAIL_FROM or RESEND_API_URL"
        );
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        self.metrics.pause_outbox(self.clock.now(), until, reason);
    }

    async fn addresses(&self, mails: &[OutboxMail]) -> Result<Addresses, StoreError> {
        let users: Vec<&str> = mails.iter().map(|mail| mail.user_id.as_str()).collect();
        self.store.addresses(&users).await
    }

    async fn send(&self, mail: &OutboxMail, known: &Addresses) -> OutboxEnd {
        let address = match known.get(&mail.user_id) {
            None => return OutboxEnd::Skipped(NO_ACCOUNT),
            Some(None) => return OutboxEnd::Skipped(NO_ADDRESS),
            Some(Some(address)) => address,
        };
        let sent = self
            .mailer
            .send(&Mail {
                to: address,
                subject: &mail.subject,
                text: &mail.body,
                idempotency_key: &mail.idempotency_key,
            })
            .await;
        match sent {
            Ok(()) => {
                self.metrics.mail_accepted(self.clock.now());
                OutboxEnd::Sent
            }
            Err(SendError::Misconfigured(reason)) => {
                self.pause(&reason);
                OutboxEnd::Paused(reason)
            }
            Err(SendError::Refused(reason)) => OutboxEnd::Dead(reason),
            Err(SendError::Later { reason, wait }) => self.later(mail, reason, wait),
        }
    }

    /// Postpones a mail. It is tried until it expires: an outage of the provider may last for
    /// hours.
    fn later(&self, mail: &OutboxMail, reason: String, wait: Option<Duration>) -> OutboxEnd {
        let wait = pause_after(mail.attempt).max(wait.unwrap_or_default().min(LONGEST_WAIT));
        OutboxEnd::Later(self.clock.now().saturating_add(wait), reason)
    }

    fn count(&self, mail: &OutboxMail, end: &OutboxEnd, done: &mut Delivered) {
        let (id, attempt) = (mail.id, mail.attempt);
        let outcome = match end {
            OutboxEnd::Sent => {
                done.sent += 1;
                tracing::debug!(mail = id, attempt, "the provider accepted a mail");
                "sent"
            }
            OutboxEnd::Skipped(reason) => {
                done.skipped += 1;
                tracing::debug!(mail = id, reason, "skipped a mail");
                "skipped"
            }
            OutboxEnd::Later(at, reason) => {
                done.postponed += 1;
                tracing::warn!(mail = id, attempt, reason, next = %at, "cannot send a mail; it is retried later");
                "failed"
            }
            OutboxEnd::Paused(_) => {
                done.postponed += 1;
                "paused"
            }
            OutboxEnd::Dead(reason) => {
                done.dead += 1;
                tracing::error!(mail = id, attempt, reason, "gave up a mail");
                "dead"
            }
        };
        self.metrics.mails.with_label_values(&[outcome]).inc();
    }
}

/// Gives up mails that are too old, and deletes old rows. Also runs without a mailer: mails
/// remain in the outbox after its key is removed.
pub async fn prune(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    let expired = store.expire_mails().await?;
    if expired > 0 {
        tracing::error!(mails = expired, "gave up mails that were not sent in time");
    }
    store
        .prune_mails(now.saturating_sub(KEEP_SENT), now.saturating_sub(KEEP_DEAD))
        .await?;
    Ok(())
}

/// The pause after a failed attempt, with jitter, so that mails that failed together are not
/// retried together.
fn pause_after(attempt: i32) -> Duration {
    let pauses = ExponentialBuilder::new()
        .with_min_delay(FIRST_WAIT)
        .with_max_delay(LONGEST_WAIT)
        .without_max_times()
        .with_jitter();
    let earlier = usize::try_from(attempt.saturating_sub(1)).unwrap_or(0);
    pauses.build().nth(earlier).unwrap_or(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_an_hour() {
        for (attempt, shortest) in [(1, 30), (4, 240), (100, 3600)] {
            let pause = pause_after(attempt).as_secs();
            assert!(
                (shortest..=2 * shortest).contains(&pause),
                "{attempt}: {pause}"
            );
        }
    }

    /// A claim lasts longer than its mails take if each times out.
    #[test]
    fn claims_last_long_enough() {
        let mails = u32::try_from(BATCH).unwrap();
        assert!(CLAIM > (mails + 2) * mail::TIMEOUT);
    }
}
