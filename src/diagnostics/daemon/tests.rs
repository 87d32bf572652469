use std::net::{IpAddr, SocketAddr};

use super::address::{listen_address, metrics_in_container};
use super::reminders::check_reminders;
use super::*;
use crate::diagnostics::Outcome::{Fail, Pass, Skip, Warn};
use crate::services::daemon::{PoolStatus, ProcessStatus, RequestStatus};

fn status() -> DaemonStatus {
    DaemonStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pools: vec![PoolStatus {
            name: "main".to_owned(),
            size: 30,
            idle: 4,
            waiting: 0,
            max: 30,
        }],
        ..DaemonStatus::default()
    }
}

#[test]
fn versions() {
    let mut status = status();
    assert_eq!(compare_versions(&status).outcome, Pass);
    status.version = "0.0.1".to_owned();
    assert_eq!(compare_versions(&status).outcome, Warn);
}

#[test]
fn pools() {
    let outcome = |idle, waiting, max| {
        let mut status = status();
        let pool = &mut status.pools[0];
        (pool.idle, pool.waiting, pool.max, pool.size) = (idle, waiting, max, max);
        check_pools(&status, false).outcome
    };
    assert_eq!(outcome(4, 0, 30), Pass);
    assert_eq!(outcome(0, 0, 30), Warn);
    assert_eq!(outcome(4, 1, 30), Pass);
    assert_eq!(outcome(0, 0, 1), Pass);
    assert_eq!(outcome(0, 1, 1), Warn);
}

#[test]
fn full_pools_of_either_engine() {
    let remedy = |is_file| {
        let mut status = status();
        status.pools[0].idle = 0;
        check_pools(&status, is_file).remedy.unwrap().to_string()
    };
    assert!(remedy(false).contains("pg_stat_activity"));
    assert!(!remedy(true).contains("psql"), "{}", remedy(true));
    assert!(remedy(true).contains("--only database.locks"));
    assert!(!remedy(true).contains("POOL_SIZE"), "{}", remedy(true));
}

#[test]
fn reminders() {
    let outcome = |last| {
        let last_reminder_run = Some(last);
        let status = DaemonStatus {
            last_reminder_run,
            ..status()
        };
        check_reminders(&status, 10_000).outcome
    };
    assert_eq!(check_reminders(&status(), 10_000).outcome, Skip);
    assert_eq!(outcome(9_900), Pass);
    assert_eq!(outcome(1_000), Warn);
}

#[test]
fn metrics_that_nobody_reads() {
    let address = SocketAddr::from(([127, 0, 0, 1], 9000));
    let outcome = |has_scraper, now| {
        let status = DaemonStatus {
            process: Some(ProcessStatus {
                started: 1000,
                ..ProcessStatus::default()
            }),
            requests: Some(RequestStatus {
                has_scraper,
                ..RequestStatus::default()
            }),
            ..status()
        };
        metrics_in_container(address, &status, now).outcome
    };
    assert_eq!(outcome(Some(false), 1299), Pass);
    assert_eq!(outcome(Some(false), 1300), Warn);
    assert_eq!(outcome(Some(true), 9000), Pass);
    // Older daemons do not tell.
    assert_eq!(outcome(None, 9000), Pass);
}

#[test]
fn a_loopback_address_in_a_container() {
    let host = IpAddr::from([127, 0, 0, 1]);
    assert_eq!(listen_address(host, false).outcome, Pass);
    assert_eq!(listen_address(host, true).outcome, Warn);
    let foreign = IpAddr::from([203, 0, 113, 9]);
    assert_eq!(listen_address(foreign, false).outcome, Fail);
}
