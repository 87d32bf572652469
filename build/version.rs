//! The version, with the commit that the program is built from.

use std::env;
use std::process::Command;

/// Gives the compiler `TODOCTL_VERSION` and `TODOCTL_BUILT_FROM`.
pub fn tell() {
    println!("cargo:rerun-if-env-changed=TODOCTL_COMMIT");
    let commit = commit().unwrap_or_default();
    let mut version = env!("CARGO_PKG_VERSION").to_owned();
    if !commit.is_empty() {
        version += &format!(" ({commit})");
    }
    println!("cargo:rustc-env=TODOCTL_BUILT_FROM={commit}");
    println!("cargo:rustc-env=TODOCTL_VERSION={version}");
}

/// `TODOCTL_COMMIT`, or what git says. Debug builds do not ask git: every commit
/// would compile them again.
fn commit() -> Option<String> {
    let told = env::var("TODOCTL_COMMIT").ok().as_deref().and_then(short);
    if told.is_some() || env::var("PROFILE").as_deref() != Ok("release") {
        return told;
    }
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["rev-parse", "HEAD"]).as_deref().and_then(short)
}

/// The first seven digits, if it is a commit's hash at all.
fn short(commit: &str) -> Option<String> {
    let commit = commit.trim();
    let is_hash = commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| commit[..7].to_ascii_lowercase())
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
