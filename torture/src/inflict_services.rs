//! Faults of the services beside the database, of the disk and of the clock.

use std::time::Duration;

use anyhow::Context as _;
use fastrand::Rng;
use rustix::io::Errno;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::task::block_in_place;
use tokio::time::timeout;

use crate::daemon::CONNECTIONS;
use crate::faults::Fault;
use crate::inflict::pause;
use crate::preload::{DiskErrors, SYNCS};
use crate::support::auth_peer::Mood;
use crate::support::http_peer::Answer;
use crate::support::mail_peer::MailPeer;
use crate::support::pgbouncer::PgBouncer;
use crate::world::World;

const HOUR: i64 = 60 * 60;

pub async fn on_service(fault: Fault, world: &World, rng: &mut Rng) -> anyhow::Result<()> {
    match fault {
        Fault::Redis => {
            let redis = world.peers.redis.as_ref().context("no Redis")?;
            let mut redis = redis.lock().await;
            if rng.bool() {
                redis.kill();
                pause(rng, 50..800).await;
                block_in_place(|| redis.run());
            } else {
                redis.freeze(true);
                pause(rng, 50..1500).await;
                redis.freeze(false);
            }
        }
        Fault::AuthServer => {
            let auth = world.peers.auth.as_ref().context("no auth server")?;
            let moods = [
                Mood::HangsUp,
                Mood::Fails(500),
                Mood::Hangs,
                Mood::Garbage,
                Mood::OtherJson,
                Mood::Slow(Duration::from_millis(rng.u64(50..1000))),
                Mood::Limits("retry-after", 1),
            ];
            for _ in 0..rng.usize(1..4) {
                auth.be(moods[rng.usize(..moods.len())]);
                pause(rng, 50..600).await;
            }
            auth.be(Mood::Fine);
        }
        Fault::Mail => {
            let answers = [
                MailPeer::status(500),
                MailPeer::status(429),
                Answer::HangUp,
                Answer::Late(
                    Duration::from_millis(rng.u64(50..1000)),
                    200,
                    serde_json::json!({ "id": "late" }),
                ),
            ];
            let count = rng.usize(1..6);
            let next = (0..count).map(|_| answers[rng.usize(..answers.len())].clone());
            world.peers.mail.will_answer(next.collect::<Vec<_>>());
        }
        _ => {
            let mut bouncer = world.bouncer.as_ref().context("no pooler")?.lock().await;
            if fault == Fault::PoolerReload {
                reload(&mut bouncer, rng).await?;
            } else {
                interrupt(&bouncer, rng).await?;
            }
        }
    }
    Ok(())
}

/// A smaller pool, or one session for each client, for a while.
async fn reload(bouncer: &mut PgBouncer, rng: &mut Rng) -> anyhow::Result<()> {
    if rng.bool() {
        bouncer.set("default_pool_size", &rng.usize(1..4).to_string());
    } else {
        bouncer.set("pool_mode", "session");
    }
    console(bouncer, "RELOAD").await?;
    pause(rng, 100..1200).await;
    bouncer.set("pool_mode", "transaction");
    bouncer.set("default_pool_size", &CONNECTIONS.to_string());
    console(bouncer, "RELOAD").await
}

async fn interrupt(bouncer: &PgBouncer, rng: &mut Rng) -> anyhow::Result<()> {
    if rng.u8(..3) == 0 {
        return console(bouncer, "RECONNECT").await;
    }
    // It waits for the transactions that have begun, which may wait for another fault.
    let paused = timeout(Duration::from_secs(2), console(bouncer, "PAUSE")).await;
    if paused.is_ok() {
        pause(rng, 50..1500).await;
    }
    // Refused if nothing is paused.
    let _ = console(bouncer, "RESUME").await;
    Ok(())
}

/// Gives the pooler a command.
async fn console(bouncer: &PgBouncer, command: &'static str) -> anyhow::Result<()> {
    let options: PgConnectOptions = bouncer.url.parse()?;
    let mut connection = options
        .database("pgbouncer")
        .extra_float_digits(None)
        .connect()
        .await
        .context("PgBouncer's console")?;
    sqlx::raw_sql(command).execute(&mut connection).await?;
    Ok(connection.close().await?)
}

pub async fn preloaded(
    fault: Fault,
    world: &World,
    which: usize,
    rng: &mut Rng,
) -> anyhow::Result<()> {
    let preloaded = world.preloaded.get(which).context("no such daemon")?;
    if fault == Fault::DiskErrors && rng.u8(..3) == 0 {
        // What was refused last must not be there after the crash.
        preloaded.fail(Some(DiskErrors {
            errno: Errno::IO.raw_os_error(),
            one_of: 1,
            calls: SYNCS,
        }))?;
        pause(rng, 20..200).await;
        let mut daemon = world.daemons[which].lock().await;
        daemon.kill().await;
        preloaded.fail(None)?;
        return daemon.start();
    }
    if fault == Fault::DiskErrors {
        for _ in 0..rng.usize(1..4) {
            preloaded.fail(Some(DiskErrors {
                errno: [Errno::IO, Errno::NOSPC][rng.usize(..2)].raw_os_error(),
                one_of: rng.u32(1..30),
                calls: rng.u32(1..4),
            }))?;
            pause(rng, 20..300).await;
            preloaded.fail(None)?;
            pause(rng, 0..100).await;
        }
        return Ok(());
    }
    let size = if fault == Fault::ClockDays {
        rng.i64(24 * HOUR..10 * 24 * HOUR)
    } else if rng.bool() {
        rng.i64(1..60)
    } else {
        rng.i64(60..11 * HOUR)
    };
    preloaded.set_clock(if rng.bool() { size } else { -size })?;
    pause(rng, 50..800).await;
    preloaded.set_clock(0)
}
