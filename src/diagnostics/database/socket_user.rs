//! Administrators of a server on this machine: packages give the role `postgres` no password, and let
//! the system user of that name log in through the server's socket.

use std::path::Path;

use crate::config::{DatabaseTarget, PostgresTarget, Remedy};
use crate::diagnostics::context::Context;
use crate::diagnostics::report::Finding;

use super::other_port::socket_directory;

/// Says how commands of the role `postgres` are typed without a password.
pub(in crate::diagnostics) fn name_socket(context: &Context, findings: &mut [Finding]) {
    let Some(DatabaseTarget::Postgres(target)) = context.target() else {
        return;
    };
    let server = target.server();
    let Some(note) = directory(server).map(|directory| note(server, directory)) else {
        return;
    };
    for remedy in findings.iter_mut().filter_map(|one| one.remedy.as_mut()) {
        if remedy.is_administered_at(server) && remedy.to_string().contains(" -U postgres ") {
            *remedy = note.clone().then(std::mem::take(remedy));
        }
    }
}

fn directory(server: &PostgresTarget) -> Option<&str> {
    if server.host.starts_with('/') {
        return Some(&server.host);
    }
    socket_directory(server.port).filter(|_| server.is_loopback())
}

fn note(server: &PostgresTarget, directory: &str) -> Remedy {
    let port = server.port.to_string();
    let by_user = Remedy::command("runuser -u postgres -- psql -h")
        .arg(Path::new(directory))
        .arg("-p")
        .arg(&port);
    let by_password = Remedy::admin_command("psql", server, None);
    Remedy::note(format!(
        "where the role postgres has no password, as after an installation: as root, {by_user} in place of {by_password}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_user_of_a_server_here() {
        let socket = PostgresTarget::fixture("/run/pg sql", 5433);
        assert_eq!(
            note(&socket, directory(&socket).unwrap()).to_string(),
            "# where the role postgres has no password, as after an installation: as root, runuser -u postgres -- psql -h '/run/pg sql' -p 5433 in place of psql -h '/run/pg sql' -p 5433 -U postgres"
        );
        assert_eq!(directory(&PostgresTarget::fixture("192.0.2.7", 5432)), None);
        // No server has this port.
        assert_eq!(directory(&PostgresTarget::fixture("127.0.0.1", 0)), None);
    }
}
