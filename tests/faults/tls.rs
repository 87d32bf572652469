//! A PostgreSQL server of its own with TLS: its own CA, an unknown one, another host's name.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::faults::Broken;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};

faults! {
    NO_TLS = Fault {
        title: "The server does not offer TLS, and sslmode requires it",
        symptom: Symptom::Start("does not offer TLS"),
        check: "database.tls",
        outcome: "fail",
        after: After::Person("only a person knows whether the network is private"),
    };
    UNKNOWN_CA = Fault {
        title: "The server's certificate is of a private CA",
        symptom: Symptom::Start("certificate"),
        check: "database.tls",
        outcome: "fail",
        after: After::Person("only a person has the CA's file"),
    };
    AUTHORITY_AS_SERVER = Fault {
        title: "The server's certificate is that of a CA, as openssl req -x509 makes it",
        symptom: Symptom::Start("that of a CA"),
        check: "database.tls",
        outcome: "fail",
        after: After::Person("only an administrator may change the server's files"),
    };
    NEEDLESS_TLS = Fault::failing(
        "sslmode=require for a server on this machine, which does not offer TLS",
        Symptom::Start("does not offer TLS"),
        "database.tls",
    );
    ENCRYPTED_ALONE = Fault::failing(
        "pg_hba.conf allows encrypted connections alone, and sslmode is disable",
        Symptom::Start("no pg_hba.conf entry"),
        "database.login",
    );
    NAME_NOT_VERIFIED = Fault {
        title: "The certificate's host name is not verified, although it is right",
        symptom: Symptom::Risk("another certificate of that CA is accepted too"),
        check: "database.tls",
        outcome: "warn",
        after: After::Typed("pass"),
    };
}

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
        self.show_pem(&certificate.pem(), &key.serialize_pem());
    }

    /// Shows the certificate of a CA, which is in the file that is returned too.
    fn show_authority(&self) -> String {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        self.show_pem(&certificate.pem(), &key.serialize_pem());
        let copy = self.files.path().join("root.crt");
        std::fs::write(&copy, certificate.pem()).unwrap();
        copy.display().to_string()
    }

    fn show_pem(&self, certificate: &str, key: &str) {
        let data = self.directory.join("data");
        std::fs::write(data.join("server.crt"), certificate).unwrap();
        std::fs::write(data.join("server.key"), key).unwrap();
        self.restart();
    }

    fn restart(&self) {
        let data = self.directory.join("data");
        script(&format!(
            "PG_BIN=$(pg_find); data='{}'; user=$(pg_user)
             if [[ -n $user ]]; then chown \"$user\" \"$data\"/server.*; fi
             chmod 600 \"$data/server.key\"
             grep -q '^ssl = on' \"$data/postgresql.conf\" || echo 'ssl = on' >>\"$data/postgresql.conf\"
             pg_as \"$PG_BIN/pg_ctl\" -D \"$data\" -w -s restart </dev/null >/dev/null 2>&1",
            data.display()
        ));
    }

    fn scene(&self, query: &str) -> Scene {
        let scene = Scene::new();
        scene.set("DATABASE_URL", &format!("{}?{query}", self.url));
        scene
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

    // Nobody else is on the way to this machine itself.
    let here = server.with("sslmode=require");
    here.db_check().says("database.tls", "pass", "");
    // Weaker than verify-full: what that risks, and that more would work.
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

#[tokio::test]
async fn encryption_on_this_machine() {
    let server = TlsServer::start();
    let mut scene = server.scene("sslmode=require");
    scene.proves(&NEEDLESS_TLS).await;
    scene.stop();
    server.show("localhost");
    let rules = server.directory.join("data/pg_hba.conf");
    std::fs::write(&rules, "hostssl all all all scram-sha-256\n").unwrap();
    server.restart();
    let mut scene = server.scene("sslmode=disable");
    scene.proves(&ENCRYPTED_ALONE).await;
    let url = scene.get("DATABASE_URL").unwrap();
    assert!(url.contains("sslmode=require"), "{url}");
}

/// The commands in the remedies work.
#[tokio::test]
async fn remedies() {
    let server = TlsServer::start();
    let mut scene = server.scene("sslmode=verify-full");
    scene.proves(&NO_TLS).await;
    server.show("localhost");
    scene.proves(&UNKNOWN_CA).await;
    let file = format!("DATABASE_URL.sslrootcert={}", server.ca());
    let output = scene.todoctl(&["config", "set", &file]);
    assert!(output.status.success());
    scene.proves_gone(&UNKNOWN_CA);
    scene.proves_gone(&NO_TLS);

    let root = server.show_authority();
    let mut scene = server.scene(&format!("sslmode=verify-full&sslrootcert={root}"));
    scene.proves(&AUTHORITY_AS_SERVER).await;
    let report = scene.doctor("database.tls");
    let remedy = report.check("database.tls")["remedy"].as_str().unwrap();
    let (_, command) = remedy.split_once("with the same key: ").unwrap();
    let command = command.lines().next().unwrap();
    let made = Command::new("sh")
        .args(["-euc", command])
        .current_dir(server.directory.join("data"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{command}: {made:?}");
    server.restart();
    // The copy of the old certificate stays as it is.
    scene.proves_gone(&AUTHORITY_AS_SERVER);

    server.show("localhost");
    let mut weak = server.scene(&format!("sslmode=verify-ca&sslrootcert={}", server.ca()));
    weak.proves(&NAME_NOT_VERIFIED).await;
}
