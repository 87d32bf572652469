//! Sends what waits in the outbox.
//!
//! It does not poll: it works when the reminder job calls, and when a try that was put
//! off comes due.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::services::mail::{self, Mail, Mailer, SendError};
use crate::store::{OutboxEnd, OutboxMail, Store, StoreError};
use crate::telemetry::JobMetrics;

use super::Stop;

/// Mails claimed at once.
const BATCH: i64 = 10;

/// How long a claim holds: longer than its mails take if each runs into its limit.
const CLAIM: Duration = Duration::from_secs(180);

/// After so many tries a mail is given up.
const MAX_ATTEMPTS: i32 = 8;

/// The wait after the first try; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(30);

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// Why a mail goes nowhere.
const NO_ADDRESS: &str = "the user has no address";

/// How long sent mails are remembered.
const KEEP_SENT: Duration = Duration::from_hours(7 * 24);

/// How long mails that were given up can be looked at.
const KEEP_DEAD: Duration = Duration::from_hours(30 * 24);

/// What one round of sending came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Delivered {
    /// Mails that the provider accepted.
    pub sent: usize,
    /// Tries that failed and will be repeated.
    pub postponed: usize,
    /// Mails that go nowhere, because the user has no address.
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
}

impl Outbox {
    /// An outbox that sends with `mailer`.
    #[must_use]
    pub fn new(store: Store, clock: Clock, mailer: Mailer, metrics: JobMetrics) -> Self {
        Self {
            store,
            clock,
            mailer,
            metrics,
        }
    }

    /// Tries every mail that is due, once. After `stop` the mail under way is the last.
    pub async fn deliver(&self, stop: &Stop) -> Result<Delivered, StoreError> {
        let mut done = Delivered::default();
        while !stop.is_set() {
            let until = self.clock.now().saturating_add(CLAIM);
            let mails = self.store.claim_mails(until, BATCH).await?;
            if mails.is_empty() {
                break;
            }
            let addresses = self.addresses(&mails).await;
            for mail in &mails {
                let almost_over = self.clock.now().saturating_add(2 * mail::TIMEOUT) > until;
                if stop.is_set() || almost_over {
                    // Nothing was tried: whoever comes next may have it at once.
                    let end = OutboxEnd::Later(self.clock.now(), "not tried yet".to_owned());
                    self.store.end_mail(mail, &end).await?;
                    continue;
                }
                let end = match &addresses {
                    Ok(known) => self.send(mail, known).await,
                    Err(error) => {
                        tracing::warn!(%error, "the users' addresses could not be read");
                        self.later(mail, "the address could not be read".to_owned(), None)
                    }
                };
                self.count(mail, &end, &mut done);
                self.store.end_mail(mail, &end).await?;
            }
        }
        Ok(done)
    }

    /// When the next try is due, if any mail waits. Also brings the gauges up to date.
    pub async fn next(&self) -> Result<Option<Timestamp>, StoreError> {
        let status = self.store.outbox_status().await?;
        self.metrics.set_outbox(status.pending, status.dead);
        Ok(status.next)
    }

    async fn addresses(&self, mails: &[OutboxMail]) -> Result<HashMap<String, String>, StoreError> {
        let users: Vec<&str> = mails.iter().map(|mail| mail.user_id.as_str()).collect();
        self.store.addresses(&users).await
    }

    async fn send(&self, mail: &OutboxMail, known: &HashMap<String, String>) -> OutboxEnd {
        let Some(address) = known.get(&mail.user_id) else {
            return OutboxEnd::Skipped(NO_ADDRESS);
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
            Ok(()) => OutboxEnd::Sent,
            Err(SendError::Refused(reason)) => OutboxEnd::Dead(reason),
            Err(SendError::Later { reason, wait }) => self.later(mail, reason, wait),
        }
    }

    /// The next try of a mail, unless this was the last.
    fn later(&self, mail: &OutboxMail, reason: String, wait: Option<Duration>) -> OutboxEnd {
        if mail.attempt >= MAX_ATTEMPTS {
            return OutboxEnd::Dead(reason);
        }
        let wait = backoff(mail.attempt, getrandom::u32().unwrap_or(u32::MAX))
            .max(wait.unwrap_or_default().min(LONGEST_WAIT));
        OutboxEnd::Later(self.clock.now().saturating_add(wait), reason)
    }

    fn count(&self, mail: &OutboxMail, end: &OutboxEnd, done: &mut Delivered) {
        let (id, attempt) = (mail.id, mail.attempt);
        let outcome = match end {
            OutboxEnd::Sent => {
                done.sent += 1;
                tracing::debug!(mail = id, attempt, "a mail was accepted");
                "sent"
            }
            OutboxEnd::Skipped(reason) => {
                done.skipped += 1;
                tracing::debug!(mail = id, reason, "a mail goes nowhere");
                "skipped"
            }
            OutboxEnd::Later(at, reason) => {
                done.postponed += 1;
                tracing::warn!(mail = id, attempt, reason, next = %at, "a mail was not accepted");
                "failed"
            }
            OutboxEnd::Dead(reason) => {
                done.dead += 1;
                tracing::error!(mail = id, attempt, reason, "a mail is given up");
                "dead"
            }
        };
        self.metrics.mails.with_label_values(&[outcome]).inc();
    }
}

/// Gives up what is too old to be sent, and forgets what ended long ago. Also without a
/// mailer: the key may have been taken away.
pub async fn prune(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    let expired = store.expire_mails().await?;
    if expired > 0 {
        tracing::error!(
            mails = expired,
            "mails were not sent in time and are given up"
        );
    }
    store
        .prune_mails(now.saturating_sub(KEEP_SENT), now.saturating_sub(KEEP_DEAD))
        .await?;
    Ok(())
}

/// The wait after a try: doubled with each, then somewhere in its upper half, so that the
/// mails that failed together do not come back together.
fn backoff(attempt: i32, random: u32) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(0);
    let whole = FIRST_WAIT
        .saturating_mul(2_u32.saturating_pow(doublings))
        .min(LONGEST_WAIT);
    whole / 2 + (whole / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_an_hour_and_differ() {
        let seconds = |attempt, random| backoff(attempt, random).as_secs();
        assert_eq!((seconds(1, 0), seconds(1, u32::MAX)), (15, 30));
        assert_eq!((seconds(4, 0), seconds(4, u32::MAX)), (120, 240));
        assert_eq!((seconds(100, 0), seconds(100, u32::MAX)), (1800, 3600));
    }

    /// All tries of a mail are made while the provider still knows its idempotency key.
    #[test]
    fn the_last_try_comes_within_a_day() {
        let waits: Duration = (1..MAX_ATTEMPTS)
            .map(|attempt| backoff(attempt, u32::MAX))
            .sum();
        assert!(waits < Duration::from_hours(23), "{waits:?}");
    }

    /// A claim outlasts the mails that it is for, if each of them runs into its limit.
    #[test]
    fn claims_last() {
        let mails = u32::try_from(BATCH).unwrap();
        assert!(CLAIM > (mails + 2) * mail::TIMEOUT);
    }
}
