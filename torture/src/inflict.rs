//! How each fault is inflicted and healed.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use fastrand::Rng;
use rustix::process::Signal;
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::time::{Instant, sleep, timeout};

use crate::daemon::{TIME_LIMIT, ended};
use crate::database::Database;
use crate::faults::{Fault, Planned};
use crate::inflict_services::{on_service, preloaded};
use crate::postgres::Stop;
use crate::proxy::{Fate, Proxy, Trigger};
use crate::world::World;

/// Inflicts a fault, waits, and heals it.
pub async fn inflict(planned: &Planned, world: &World) -> anyhow::Result<()> {
    let mut rng = Rng::with_seed(planned.seed);
    sleep(planned.after).await;
    let which = rng.usize(..world.daemons.len());
    match planned.fault {
        Fault::Kill | Fault::Freeze | Fault::Restart | Fault::LogStalled | Fault::LogClosed => {
            on_daemon(planned.fault, world, which, &mut rng).await
        }
        Fault::Commands => commands(world, which, &mut rng).await,
        Fault::Lock | Fault::RowLock | Fault::LockAndReset => {
            lock(planned.fault, world, which, &mut rng).await
        }
        Fault::FullDisk => fill(world, &mut rng).await,
        Fault::Checkpoint => {
            let Database::Sqlite(_) = &world.database else {
                return Ok(());
            };
            let mut connection = world.database.connect_file().await?;
            for _ in 0..10 {
                // The disk may be full, and the database locked.
                let checkpoint = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)");
                let _ = checkpoint.execute(&mut connection).await;
                pause(&mut rng, 10..40).await;
            }
            Ok(connection.close().await?)
        }
        Fault::ServerRestart
        | Fault::ServerCrash
        | Fault::ServerDown
        | Fault::BackendKilled
        | Fault::Terminate => on_server(planned.fault, world, &mut rng).await,
        Fault::Alter => {
            let column = format!("torture_{}", rng.u8(..));
            for change in ["ADD COLUMN IF NOT EXISTS", "DROP COLUMN IF EXISTS"] {
                let statement =
                    format!("SET lock_timeout = '2s'; ALTER TABLE tasks {change} {column}");
                let kind = if change.starts_with("ADD") {
                    " integer"
                } else {
                    ""
                };
                // Another fault may be in the way.
                let _ = world.database.execute(&(statement + kind)).await;
                pause(&mut rng, 100..300).await;
            }
            Ok(())
        }
        Fault::PoolerRestart | Fault::PoolerFreeze => {
            on_pooler(planned.fault, world, &mut rng).await
        }
        Fault::PoolerReload
        | Fault::PoolerPause
        | Fault::Redis
        | Fault::AuthServer
        | Fault::Mail => on_service(planned.fault, world, &mut rng).await,
        Fault::DiskErrors | Fault::ClockJump | Fault::ClockDays => {
            preloaded(planned.fault, world, which, &mut rng).await
        }
        Fault::Rolling => rolling(world).await,
        Fault::Schema => schema(world, which, &mut rng).await,
        _ => {
            let proxy = world.proxies.get(which).context("no network")?;
            on_network(planned.fault, proxy, &mut rng).await;
            Ok(())
        }
    }
}

pub(crate) async fn pause(rng: &mut Rng, milliseconds: std::ops::Range<u64>) {
    sleep(Duration::from_millis(rng.u64(milliseconds))).await;
}

async fn on_daemon(fault: Fault, world: &World, which: usize, rng: &mut Rng) -> anyhow::Result<()> {
    let mut daemon = world.daemons[which].lock().await;
    daemon.ensure_running()?;
    match fault {
        Fault::Kill => {
            daemon.kill().await;
            pause(rng, 0..100).await;
            daemon.start()?;
        }
        Fault::Freeze => {
            daemon.signal(Signal::STOP)?;
            pause(rng, 50..1500).await;
            daemon.signal(Signal::CONT)?;
        }
        Fault::Restart => {
            daemon.stop().await?;
            daemon.start()?;
        }
        Fault::LogStalled => {
            daemon.stall_log(true);
            drop(daemon);
            pause(rng, 100..800).await;
            world.daemons[which].lock().await.stall_log(false);
        }
        _ => {
            daemon.close_log();
            pause(rng, 50..200).await;
        }
    }
    Ok(())
}

/// As a deployment does: the next daemon stops when the one before is ready.
async fn rolling(world: &World) -> anyhow::Result<()> {
    for daemon in &world.daemons {
        let mut daemon = daemon.lock().await;
        daemon.ensure_running()?;
        daemon.stop().await?;
        daemon.start()?;
        // It is not, while the database is gone.
        let _ = timeout(Duration::from_secs(2), daemon.until_ready()).await;
    }
    Ok(())
}

/// Takes the newest migration back, and applies it again until that succeeds: other faults may be
/// in the way.
async fn schema(world: &World, which: usize, rng: &mut Rng) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_mins(2);
    todoctl(world, which, &["migrate", "down", "--yes"]).await?;
    pause(rng, 20..300).await;
    while !todoctl(world, which, &["migrate", "up"]).await? {
        ensure!(Instant::now() < deadline, "the schema did not come back");
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Runs a command with the settings of a daemon; whether it succeeded.
async fn todoctl(world: &World, which: usize, arguments: &[&str]) -> anyhow::Result<bool> {
    let mut child = world.daemons[which]
        .lock()
        .await
        .command(arguments)
        .spawn()?;
    if !ended(&mut child, Duration::from_mins(2)).await {
        let _ = child.kill();
        let _ = child.wait();
        bail!("todoctl {arguments:?} did not end");
    }
    Ok(child.wait()?.success())
}

async fn commands(world: &World, which: usize, rng: &mut Rng) -> anyhow::Result<()> {
    const COMMANDS: [&[&str]; 4] = [
        &["jobs", "run", "reminders"],
        &["jobs", "run", "reminders"],
        &["migrate", "up"],
        &["db", "check"],
    ];
    // What they say depends on the other faults.
    let (one, other) = (rng.usize(..COMMANDS.len()), rng.usize(..COMMANDS.len()));
    tokio::try_join!(
        todoctl(world, which, COMMANDS[one]),
        todoctl(world, which, COMMANDS[other])
    )?;
    Ok(())
}

/// As long as a lock is held: often for longer than the time limit of a request, and now and then
/// for so long that a request without one would be noticed.
async fn hold(rng: &mut Rng) {
    if rng.u8(..10) == 0 {
        pause(rng, 7500..8500).await;
    } else {
        pause(rng, 50..1600).await;
    }
}

async fn lock(fault: Fault, world: &World, which: usize, rng: &mut Rng) -> anyhow::Result<()> {
    let Database::Postgres { server, name } = &world.database else {
        let mut connection = world.database.connect_file().await?;
        if sqlx::raw_sql("BEGIN IMMEDIATE")
            .execute(&mut connection)
            .await
            .is_ok()
        {
            hold(rng).await;
        }
        return Ok(connection.close().await?);
    };
    let Ok(mut connection) = server.connect(name).await else {
        return Ok(());
    };
    let statement = if fault == Fault::RowLock {
        "BEGIN; SELECT id FROM tasks ORDER BY id DESC LIMIT 20 FOR UPDATE".to_owned()
    } else {
        "BEGIN; SET LOCAL lock_timeout = '2s'; LOCK TABLE tasks IN EXCLUSIVE MODE".to_owned()
    };
    // Another fault may end the session.
    let locked = sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await;
    if locked.is_ok() && fault == Fault::LockAndReset {
        pause(rng, 20..200).await;
        if let Some(proxy) = world.proxies.get(which) {
            if rng.bool() {
                proxy.close();
            } else {
                proxy.reset();
            }
            pause(rng, 20..600).await;
            proxy.heal();
        }
    }
    if locked.is_ok() {
        hold(rng).await;
    }
    let _ = connection.close().await;
    Ok(())
}

async fn fill(world: &World, rng: &mut Rng) -> anyhow::Result<()> {
    let Database::Sqlite(path) = &world.database else {
        return Ok(());
    };
    let filler = path.with_file_name(format!("filler-{}", rng.u32(..)));
    // Some room is left: what fails then is not always the first statement.
    let room = rng.usize(..6) * 4096;
    let full = filler.clone();
    tokio::task::spawn_blocking(move || fill_up(&full, room)).await??;
    pause(rng, 50..500).await;
    std::fs::remove_file(filler)?;
    Ok(())
}

/// Writes a file until the disk is full, and leaves `room`.
fn fill_up(path: &std::path::Path, room: usize) -> anyhow::Result<()> {
    use std::io::Write as _;

    let mut file = std::fs::File::create(path)?;
    let mut written: u64 = 0;
    let mut size = 1 << 20;
    while size >= 4096 {
        match file.write(&vec![0; size]) {
            Ok(count) if count > 0 => written += u64::try_from(count)?,
            _ => size /= 4,
        }
    }
    file.set_len(written.saturating_sub(u64::try_from(room)?))?;
    Ok(())
}

async fn on_server(fault: Fault, world: &World, rng: &mut Rng) -> anyhow::Result<()> {
    let Database::Postgres { server, name } = &world.database else {
        return Ok(());
    };
    let _down = server.down.lock().await;
    let ours =
        format!("FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()");
    match fault {
        Fault::ServerRestart => server.stop(Stop::Fast).await?,
        Fault::ServerCrash => server.stop(Stop::Immediate).await?,
        Fault::ServerDown => {
            server.stop(Stop::Immediate).await?;
            pause(rng, 100..1500).await;
        }
        Fault::BackendKilled => {
            let mut connection = server.connect(name).await?;
            let pids: Vec<(i32,)> = sqlx::query_as(AssertSqlSafe(format!("SELECT pid {ours}")))
                .fetch_all(&mut connection)
                .await?;
            if let Some((pid,)) = (!pids.is_empty()).then(|| pids[rng.usize(..pids.len())]) {
                let pid = rustix::process::Pid::from_raw(pid).context("no such process")?;
                rustix::process::kill_process(pid, Signal::KILL)?;
            }
            // The server ends all sessions and starts again by itself.
            pause(rng, 200..400).await;
        }
        _ => {
            let some = if rng.bool() { "AND random() < 0.5" } else { "" };
            let statement = format!("SELECT pg_terminate_backend(pid) {ours} {some}");
            for _ in 0..rng.usize(1..6) {
                server.execute(name, &statement).await?;
                pause(rng, 5..60).await;
            }
        }
    }
    server.ensure_running().await
}

async fn on_pooler(fault: Fault, world: &World, rng: &mut Rng) -> anyhow::Result<()> {
    let mut bouncer = world.bouncer.as_ref().context("no pooler")?.lock().await;
    if fault == Fault::PoolerRestart {
        bouncer.kill();
        pause(rng, 0..300).await;
        tokio::task::block_in_place(|| bouncer.restart());
    } else {
        bouncer.freeze(true);
        pause(rng, 50..1500).await;
        bouncer.freeze(false);
    }
    Ok(())
}

async fn on_network(fault: Fault, proxy: &Proxy, rng: &mut Rng) {
    let count = rng.usize(1..16);
    let late = TIME_LIMIT + Duration::from_millis(rng.u64(100..600));
    let wait = match fault {
        Fault::Delay => {
            proxy.delay(Duration::from_millis(rng.u64(1..60)));
            Duration::from_millis(rng.u64(200..800))
        }
        Fault::BlackHole => {
            proxy.hold_present();
            Duration::from_millis(rng.u64(100..1600))
        }
        Fault::Partition => {
            proxy.hold_all();
            Duration::from_millis(rng.u64(100..1600))
        }
        Fault::Reset => {
            for _ in 0..count {
                proxy.reset();
                pause(rng, 5..60).await;
            }
            Duration::ZERO
        }
        Fault::Refuse => {
            proxy.close();
            Duration::from_millis(rng.u64(50..800))
        }
        Fault::CutBeforeStatement => {
            proxy.trap(Trigger::Statement, Fate::CutBefore, count);
            Duration::from_millis(200)
        }
        Fault::CutAfterStatement => {
            proxy.trap(Trigger::Statement, Fate::CutAfter, count);
            Duration::from_millis(200)
        }
        Fault::CutBeforeCommit => {
            proxy.trap(Trigger::Commit, Fate::CutBefore, count);
            Duration::from_millis(300)
        }
        Fault::CutAfterCommit => {
            proxy.trap(Trigger::Commit, Fate::CutAfter, count);
            Duration::from_millis(300)
        }
        Fault::HalfOpen => {
            proxy.trap(Trigger::Statement, Fate::HalfOpen, count);
            Duration::from_millis(rng.u64(200..1200))
        }
        Fault::LateStatement => {
            proxy.trap(Trigger::Statement, Fate::Late, count);
            late
        }
        _ => {
            proxy.trap(Trigger::Commit, Fate::Late, count);
            late
        }
    };
    sleep(wait).await;
    proxy.heal();
}
