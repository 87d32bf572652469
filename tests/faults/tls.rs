//! A PostgreSQL server of its own with TLS: its own CA, an unknown one, another host's name.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::faults::Broken;

/// A private cluster, gone with its value.
struct TlsServer {
    directory: PathBuf,
    url: String,
    authority: CertifiedIssuer<'static, KeyPair>,
    files: tempfile::TempDir,
}

/// Runs a script with the functions of scripts/lib/postgres.sh.
fn script(text: &str) -> String {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/lib/postgres.sh");
    let output = Command::new("bash")
        .args(["-euc", &format!(". '{}'; {text}", library.display())])
        .stdin(Stdio::null())
        .output()
        .expect("bash");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

impl TlsServer {
    fn start() -> Self {
        let said = script("pg_start test; printf '%s\\n%s\\n' \"$PG_DIR\" \"$PG_URL\"");
        let mut lines = said.lines();
        let (directory, url) = (lines.next().unwrap(), lines.next().unwrap());
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("ca.pem"), authority.pem()).unwrap();
        Self {
            directory: directory.into(),
            // A name that a certificate can bear.
            url: url.replace("127.0.0.1", "localhost"),
            authority,
            files,
        }
    }

    /// Shows a certificate for `name` from now on.
    fn show(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        let data = self.directory.join("data");
        std::fs::write(data.join("server.crt"), certificate.pem()).unwrap();
        std::fs::write(data.join("server.key"), key.serialize_pem()).unwrap();
        script(&format!(
            "PG_BIN=$(pg_find); data='{}'; user=$(pg_user)
             if [[ -n $user ]]; then chown \"$user\" \"$data\"/server.*; fi
             chmod 600 \"$data/server.key\"
             grep -q '^ssl = on' \"$data/postgresql.conf\" || echo 'ssl = on' >>\"$data/postgresql.conf\"
             pg_as \"$PG_BIN/pg_ctl\" -D \"$data\" -w -s restart </dev/null >/dev/null 2>&1",
            data.display()
        ));
    }

    fn with(&self, query: &str) -> Broken {
        Broken::with_server(&format!("{}?{query}", self.url))
    }

    fn ca(&self) -> String {
        self.files.path().join("ca.pem").display().to_string()
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        script(&format!("pg_stop '{}'", self.directory.display()));
    }
}

/// Contract 10.4: the certificate and its name are verified, by `sslmode`.
#[test]
fn certificates() {
    let server = TlsServer::start();
    let ca = server.ca();

    // Not switched on yet.
    server.with("sslmode=verify-full").database_says(
        "database.tls",
        "fail",
        "DATABASE_URL.sslmode=disable",
    );

    // An unknown CA, then the same with `sslrootcert`.
    server.show("localhost");
    let unknown = server.with("sslmode=verify-full");
    unknown.database_says("database.tls", "fail", "DATABASE_URL.sslrootcert=");
    let known = server.with(&format!("sslmode=verify-full&sslrootcert={ca}"));
    let report = known.db_check();
    report
        .says("database.tls", "pass", "")
        .says("database.login", "pass", "");

    // Weaker than verify-full: what that risks, and that more would work.
    let weak = server.with("sslmode=require");
    let report = weak.db_check();
    report.says(
        "database.tls",
        "warn",
        "sslmode=verify-full DATABASE_URL.sslrootcert=",
    );
    assert!(
        report
            .detail("database.tls")
            .contains("can impersonate the server")
    );
    let weak = server.with(&format!("sslmode=verify-ca&sslrootcert={ca}"));
    weak.db_check()
        .says("database.tls", "warn", "the sslmode verify-full");

    // The right CA, and another host's name.
    server.show("db.example.com");
    let other = server.with(&format!("sslmode=verify-full&sslrootcert={ca}"));
    other.database_says("database.tls", "fail", "sslmode=verify-ca");
    assert!(
        other
            .db_check()
            .detail("database.tls")
            .contains("db.example.com, not for localhost")
    );

    // A CA file that is none.
    let no_file = server.with("sslmode=verify-full&sslrootcert=/nonexistent/ca.pem");
    no_file.database_says("database.tls", "fail", "sslrootcert");
}
