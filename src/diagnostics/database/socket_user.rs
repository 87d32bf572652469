//! Administrators of a server on this machine: packages give the role `postgres` no password, and let
//! the system user of that name log in through the server's socket.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::config::{DatabaseTarget, PostgresTarget, Remedy};
use crate::diagnostics::context::Context;
use crate::diagnostics::report::Finding;

use super::other_port::socket_directory;
use super::passwords::has_password;

/// The role and the system user.
const ADMINISTRATOR: &str = "postgres";

/// Gives commands of the role `postgres` the form that needs no password, for root; others are told
/// of it.
pub(in crate::diagnostics) fn name_socket(context: &Context, findings: &mut [Finding]) {
    let Some(DatabaseTarget::Postgres(target)) = context.target() else {
        return;
    };
    let server = target.server();
    let Some(directory) = directory(server, context.is_here(server)) else {
        return;
    };
    let by_socket = PostgresTarget {
        host: directory.to_owned(),
        ..server.clone()
    };
    let is_root = rustix::process::geteuid().is_root();
    if is_root && has_password(server, ADMINISTRATOR) {
        return;
    }
    let is_rewritten = is_root && owner_is_administrator(&by_socket);
    for remedy in findings.iter_mut().filter_map(|one| one.remedy.as_mut()) {
        let leads_here = remedy.is_administered_at(server) || remedy.is_administered_at(&by_socket);
        if !leads_here || !remedy.to_string().contains(" -U postgres ") {
            continue;
        }
        let found = std::mem::take(remedy);
        *remedy = if is_rewritten {
            found.administered_by_root(server, directory)
        } else {
            note(server, directory).then(found)
        };
    }
}

fn directory(server: &PostgresTarget, is_here: bool) -> Option<&str> {
    if server.host.starts_with('/') {
        return Some(&server.host);
    }
    socket_directory(server.port).filter(|_| is_here)
}

/// Whether the server runs as the system user with the name of the role.
fn owner_is_administrator(server: &PostgresTarget) -> bool {
    let socket = Path::new(&server.host).join(format!(".s.PGSQL.{}", server.port));
    let Ok(socket) = socket.symlink_metadata() else {
        return false;
    };
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let begin = format!("{ADMINISTRATOR}:");
    let mut users = users.lines().filter_map(|line| line.strip_prefix(&begin));
    users.any(|line| line.split(':').nth(1) == Some(&socket.uid().to_string()))
}

fn note(server: &PostgresTarget, directory: &str) -> Remedy {
    let command = Remedy::admin_command("psql", server, None);
    let by_root = command.clone().administered_by_root(server, directory);
    Remedy::note(format!(
        "where the role postgres has no password, as after an installation: as root, {by_root} in place of {command}, and so with other programs"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_user_of_a_server_here() {
        let socket = PostgresTarget::fixture("/run/pg sql", 5433);
        assert_eq!(
            note(&socket, directory(&socket, true).unwrap()).to_string(),
            "# where the role postgres has no password, as after an installation: as root, runuser -u postgres -- psql -h '/run/pg sql' -p 5433 -U postgres in place of psql -h '/run/pg sql' -p 5433 -U postgres, and so with other programs"
        );
        let far = PostgresTarget::fixture("192.0.2.7", 5432);
        assert_eq!(directory(&far, false), None);
        // No server has this port.
        let here = PostgresTarget::fixture("127.0.0.1", 0);
        assert_eq!(directory(&here, true), None);
    }
}
