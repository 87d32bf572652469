//! What an administrator changes in files of a PostgreSQL server.

use std::net::IpAddr;

use crate::config::{PostgresTarget, Remedy, TlsMode, sql_literal, sql_name};

use super::place::Place;

/// What PostgreSQL does not tell a client whose password it refuses: whether there is such a role,
/// whether it has a password, of which kind, and until when.
fn told_about(role: &str, database: &str) -> String {
    format!(
        "SELECT count(*) = 1 AS exists, bool_or(rolcanlogin) AS may_log_in, max(CASE WHEN rolpassword LIKE 'md5%' THEN 'md5' WHEN rolpassword IS NULL THEN 'none' ELSE 'scram-sha-256' END) AS password, max(rolvaliduntil) AS valid_until, (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = {}) AS owner_of_database FROM pg_authid WHERE rolname = {}",
        sql_literal(database),
        sql_literal(role)
    )
}

/// The lines of `pg_hba.conf`.
const LINES: &str = "SELECT current_setting('hba_file') AS file, line_number, type, database, user_name, address, auth_method, error FROM pg_hba_file_rules ORDER BY line_number";

/// The lines of `pg_hba.conf` that ask for something else than a password.
const WITHOUT_PASSWORD: &str = "SELECT current_setting('hba_file') AS file, line_number, type, database, user_name, address, auth_method FROM pg_hba_file_rules WHERE auth_method NOT IN ('scram-sha-256', 'md5', 'password', 'reject') ORDER BY line_number";

impl Place<'_> {
    pub(super) fn login_refused(self) -> Remedy {
        const PASSWORD: &str = "correct user and password in DATABASE_URL; this asks for the password, and encodes it: todoctl config set DATABASE_URL.password=-";
        let Some(server) = self.server() else {
            return Remedy::note(PASSWORD).then(Remedy::note(
                "unless rolvaliduntil of the role in pg_roles has passed: then extend it with ALTER ROLE",
            ));
        };
        let set = Remedy::admin_sql_in(
            server,
            server.other_database(),
            None,
            format!("\\password {}", sql_name(&server.user)),
        );
        Remedy::note(PASSWORD)
            .then(Remedy::note(
                "if they are right, this shows whether the role exists, has a password (after a dump without passwords it has none), and until when it is valid; one that begins with md5 is not accepted where pg_hba.conf asks for scram-sha-256; a role that does not exist any more may be the owner of the database under a new name, which DATABASE_URL then needs:",
            ))
            .then(Remedy::admin_sql_in(
                server,
                server.other_database(),
                None,
                told_about(&server.user, server.own_name()),
            ))
            .then(Remedy::note(format!(
                "this asks for a password and gives it to the role: {set}"
            )))
            .or(Remedy::admin_sql_in(
                server,
                server.other_database(),
                None,
                format!("ALTER ROLE {} VALID UNTIL 'infinity'", sql_name(&server.user)),
            ))
    }

    /// No line of `pg_hba.conf` allows the connection, or one rejects it.
    pub(super) fn not_allowed(self) -> Remedy {
        let what = format!(
            "on the server of {}: allow the host, user and database of the message in pg_hba.conf, of which the first line that fits decides",
            self.name()
        );
        let encrypted = Remedy::note(
            "if the message says \"no encryption\": todoctl config set DATABASE_URL.sslmode=require",
        );
        let Some(server) = self.server() else {
            return Remedy::note(format!("{what}, then run SELECT pg_reload_conf()"))
                .then(encrypted);
        };
        // Otherwise encryption was tried, and the server does not offer it.
        let encrypted = (server.tls == TlsMode::Disable).then_some(encrypted);
        let as_administrator =
            |statement| Remedy::admin_sql_in(server, server.other_database(), None, statement);
        Remedy::note(format!(
            "{what}; this shows them: {}",
            as_administrator(LINES)
        ))
        .then(Remedy::note(format!(
            "then: {}",
            as_administrator("SELECT pg_reload_conf()")
        )))
        .then(encrypted)
    }

    /// The form in which a pooler has to have a password.
    pub(super) fn password_of_pooler(self) -> Remedy {
        let Some(server) = self.server() else {
            return Remedy::note(
                "in the auth_file of pgbouncer.ini, give the user the plain password, or with auth_type = scram-sha-256 the SCRAM secret of pg_authid, then RELOAD",
            );
        };
        let secret = Remedy::admin_command("psql -At", server, None)
            .arg("-d")
            .arg(server.other_database())
            .arg("-c")
            .arg(format!(
                "SELECT rolpassword FROM pg_authid WHERE rolname = {}",
                sql_literal(&server.user)
            ));
        Remedy::note(format!(
            "in the auth_file of pgbouncer.ini, give the user {} the plain password, or with auth_type = scram-sha-256 (and no user= in the line of the database) the secret that PostgreSQL has; then RELOAD in its console, or reload its service",
            server.user
        ))
        .then(Remedy::note(format!("this shows that secret, which is as good as the password: {secret}")))
    }

    /// A line of `pg_hba.conf` asks for something else than the password.
    pub(super) fn without_password(self) -> Remedy {
        let Some(server) = self.server() else {
            return Remedy::note(
                "in pg_hba.conf of the server, change the method of the first line that fits the connection to scram-sha-256, then run SELECT pg_reload_conf()",
            );
        };
        let as_postgres = |statement: &str| {
            let command = Remedy::command("runuser -u postgres -- psql");
            let command = match server.socket_directory() {
                Some(directory) => command.arg("-h").arg(directory),
                None => command,
            };
            command
                .arg("-p")
                .arg(server.server().port.to_string())
                .arg("-d")
                .arg(server.other_database())
                .arg("-c")
                .arg(statement)
        };
        let show = as_postgres(WITHOUT_PASSWORD);
        let reload = as_postgres("SELECT pg_reload_conf()");
        let change = Remedy::note(format!(
            "give that line the method scram-sha-256, then: {reload}"
        ));
        if server.socket_directory().is_none() && !server.is_loopback() {
            return Remedy::note(format!(
                "on the server of {}, as root, this shows the lines of pg_hba.conf that ask for something else than the password, of which the first that fits the connection decides: {show}",
                self.name()
            ))
            .then(change);
        }
        let remedy = Remedy::note("as root, this shows the lines of pg_hba.conf that ask for something else than the password; the first that fits the connection decides:")
            .then(show)
            .then(change);
        match server.socket_directory() {
            Some(_) => remedy.then(Remedy::note(format!(
                "peer accepts the system user with the name of the role alone: as long as the line has it, todoctl has to run as the user {}",
                server.user
            ))),
            None => remedy,
        }
    }

    /// Switches TLS on, if the certificate and its key are there: otherwise the server would not start
    /// again.
    pub(super) fn enable_tls(self) -> Option<Remedy> {
        let server = self.server()?;
        let command = Remedy::admin_command("psql -v ON_ERROR_STOP=1", server, None)
            .arg("-d")
            .arg(server.other_database());
        let statements = [
            "SELECT pg_stat_file(current_setting('ssl_cert_file')), pg_stat_file(current_setting('ssl_key_file'))",
            "ALTER SYSTEM SET ssl = on",
            "SELECT pg_reload_conf()",
        ];
        let command = statements.into_iter().fold(command, |command, statement| {
            command.arg("-c").arg(statement)
        });
        Some(Remedy::note(format!(
            "this does so if the files of certificate and key are there, and else changes nothing: {command}"
        )))
    }

    /// The server shows the certificate of a CA, as `openssl req -x509` makes it, which no other
    /// client minds.
    pub(super) fn certificate_of_server(self) -> Remedy {
        let remedy = self.new_certificate("with the same key", "-signkey server.key");
        match self.server().and_then(|server| server.root_cert.as_ref()) {
            Some(file) => remedy.then(Remedy::note(format!(
                "{} may stay as it is, if it has the old certificate",
                file.display()
            ))),
            None => remedy.then(Remedy::note("then copy server.crt to this machine, and name the copy: todoctl config set DATABASE_URL.sslrootcert=/etc/ssl/certs/your-ca.pem")),
        }
        .then(Remedy::note("until then, with encryption and without verification: todoctl config unset DATABASE_URL.sslrootcert; todoctl config set DATABASE_URL.sslmode=require"))
    }

    /// The certificate of a server lacks extensions.
    pub(super) fn signed_certificate(self) -> Remedy {
        self.new_certificate(
            "signed by the CA, whose certificate and key are root.crt and root.key",
            "-CA root.crt -CAkey root.key -CAcreateserial",
        )
    }

    /// Makes a certificate of a server from the present one.
    fn new_certificate(self, how: &str, signed_by: &str) -> Remedy {
        let host = self
            .server()
            .map_or("", |server| server.host.trim_matches(['[', ']']));
        let name = match host.parse::<IpAddr>() {
            Ok(address) => format!("IP:{address}"),
            Err(_) if host.is_empty() => "DNS:its-host-name".to_owned(),
            Err(_) => format!("DNS:{host}"),
        };
        let make = format!(
            "printf 'basicConstraints=critical,CA:FALSE\\nsubjectAltName={name}\\n' | openssl x509 -in server.crt {signed_by} -clrext -extfile /dev/stdin -days 3650 -out server.new && cat server.new > server.crt"
        );
        let reload = match self.server() {
            Some(server) => Remedy::admin_sql_in(
                server,
                server.other_database(),
                None,
                "SELECT pg_reload_conf()",
            )
            .to_string(),
            None => "SELECT pg_reload_conf()".to_owned(),
        };
        Remedy::note(format!(
            "on the server, in the directory of server.crt (SHOW ssl_cert_file), make a certificate of a server from it, {how}: {make}"
        ))
        .then(Remedy::note(format!("then: {reload}")))
    }
}

impl PostgresTarget {
    fn socket_directory(&self) -> Option<&str> {
        let host = self.server().host.as_str();
        host.starts_with('/').then_some(host)
    }
}
