//! Whether the stored provider keys can be decrypted.

use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget, Remedy, Secret};
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::domain::EncryptedKey;
use crate::store::{KeyCipher, inspect};

use super::fault::query_failed;
use super::old_key::added_again;

pub(super) async fn provider_keys(
    context: &Context,
    config: &DatabaseConfig,
    limit: Duration,
) -> Verdict {
    let stored = match &config.target {
        DatabaseTarget::Postgres(server) => {
            let ask = context.server.ask(server, limit, async |connection| {
                inspect::provider_keys(connection.session()).await
            });
            ask.await
        }
        DatabaseTarget::Sqlite(file) => {
            let ask = context.file.ask(file, limit, async |connection| {
                inspect::provider_keys_of_file(connection.session()).await
            });
            ask.await
        }
    };
    match stored {
        Ok(stored) => {
            let cipher = KeyCipher::to_read(context.audit.encryption_keys());
            check(context, cipher.as_ref(), stored)
        }
        Err(error) => query_failed(context, &error),
    }
}

fn check(context: &Context, cipher: Option<&KeyCipher>, stored: Vec<String>) -> Verdict {
    let all = stored.len();
    let is_readable =
        |token: &EncryptedKey| cipher.is_some_and(|cipher| cipher.decrypt(token).is_ok());
    let tokens = stored.into_iter().map(EncryptedKey::new);
    let (readable, others): (Vec<_>, Vec<_>) = tokens.partition(is_readable);
    let opens = |key: &Secret| {
        let cipher = KeyCipher::to_read(std::iter::once(key));
        cipher.is_some_and(|cipher| others.iter().all(|one| cipher.decrypt(one).is_ok()))
    };
    let found = || added_again(context, opens);
    match readable.len() {
        _ if all == 0 => Verdict::pass("none is stored"),
        readable if readable == all => Verdict::pass(format!("{all} can be decrypted")),
        0 => Verdict::fail(
            format!("{all} are stored, and ENCRYPTION_KEY decrypts none of them"),
            found().unwrap_or_else(|| Remedy::note("give back the key that they were stored with; a comment in the .env file or a backup may have it; this reads it without showing it: todoctl config set ENCRYPTION_KEY_PREVIOUS=-; then restart the daemon")
                .then(Remedy::note("if it is lost, users have to save their provider keys again"))),
        ),
        readable => Verdict::warn(
            format!(
                "{} of {all} cannot be decrypted with ENCRYPTION_KEY or ENCRYPTION_KEY_PREVIOUS",
                all - readable
            ),
            found().unwrap_or_else(|| Remedy::note("add the key that they were stored with to ENCRYPTION_KEY_PREVIOUS, which may name several, separated by commas, and restart the daemon; otherwise their users have to save them again")),
        ),
    }
}
