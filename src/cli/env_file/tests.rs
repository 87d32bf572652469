use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A file with `text`, in a directory that is deleted with the value.
fn file(text: &str) -> (tempfile::TempDir, EnvFile) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".env");
    fs::write(&path, text).unwrap();
    let file = EnvFile::open(&path).unwrap();
    (directory, file)
}

#[track_caller]
fn check(old: &str, change: impl FnOnce(&mut EnvFile), new: &str) {
    let (directory, mut file) = file(old);
    change(&mut file);
    file.save().unwrap();
    let path = directory.path().join(".env");
    assert_eq!(fs::read_to_string(path).unwrap(), new);
}

#[test]
fn values_are_set_in_their_place_or_appended() {
    let set = |file: &mut EnvFile| {
        file.set("A", "new");
        file.set("B", "Todo <a@b.c>");
    };
    check("", set, "A=new\nB='Todo <a@b.c>'\n");
    check("X=1", set, "X=1\nA=new\nB='Todo <a@b.c>'\n");
    check("X=1\r\n", set, "X=1\r\nA=new\r\nB='Todo <a@b.c>'\r\n");
    check(
        "# head\nB=1 # why\nexport A = ''\n# A=x\nA=2\n",
        set,
        "# head\nB='Todo <a@b.c>' # why\nexport A = new\n# A=x\nA=new\n",
    );
    check(
        "AA=1\n",
        |file| file.set("A", "it's $5"),
        "AA=1\nA=\"it's \\$5\"\n",
    );
}

#[test]
fn lines_are_removed() {
    let remove = |file: &mut EnvFile| file.remove("A");
    check("X=1\nexport A=1\n# A\nA=2\n", remove, "X=1\n# A\n");
    check("X=1\n", remove, "X=1\n");
}

#[test]
fn a_value_of_several_lines_is_one() {
    let pem = "-----BEGIN PUBLIC KEY-----\nMIIB=\n-----END PUBLIC KEY-----";
    for (quote, end) in [("\"", ""), ("'", " # why")] {
        let text = format!("A=1\nJWT_SECRET={quote}{pem}{quote}{end}\nB=2\n");
        let comment = format!(
            "#JWT_SECRET={quote}{}{quote}{end}\n",
            pem.replace('\n', "\n#")
        );
        check(
            &text,
            |file| assert!(file.retire("JWT_SECRET")),
            &format!("A=1\n{comment}B=2\n"),
        );
        check(
            &text,
            |file| assert!(file.rotate("JWT_SECRET", "new")),
            &format!("A=1\n{comment}JWT_SECRET=new{end}\nB=2\n"),
        );
        check(&text, |file| file.remove("A"), &text["A=1\n".len()..]);
    }
}

#[test]
fn a_usable_old_secret_is_kept() {
    let strong = "0123456789abcdef0123456789abcdef";
    check(
        &format!("JWT_SECRET={strong}\n"),
        |file| assert!(!file.rotate("JWT_SECRET", "new")),
        &format!("JWT_SECRET=new\nJWT_SECRET_PREVIOUS={strong}\n"),
    );
    check(
        "JWT_SECRET=change-me\nPORT=1\n",
        |file| {
            file.rotate("JWT_SECRET", "new");
            file.rotate("PORT", "2");
        },
        "JWT_SECRET=new\nPORT=2\n",
    );
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    check(
        &format!("ENCRYPTION_KEY={key}\nENCRYPTION_KEY_PREVIOUS=older\n"),
        |file| assert!(!file.rotate("ENCRYPTION_KEY", "new")),
        &format!("ENCRYPTION_KEY=new\nENCRYPTION_KEY_PREVIOUS={key},older\n"),
    );
}

#[test]
fn a_secret_that_cannot_be_used_is_kept_in_a_comment() {
    let strong = "0123456789abcdef0123456789abcdef";
    check(
        "A=1\nexport ENCRYPTION_KEY='a key' # of the old service",
        |file| assert!(file.rotate("ENCRYPTION_KEY", "new")),
        "A=1\n#export ENCRYPTION_KEY='a key' # of the old service\nexport ENCRYPTION_KEY=new # of the old service",
    );
    check(
        "ENVIRONMENT=production\nSERVICE_AUTH_TOKEN=short\nSERVICE_AUTH_TOKEN=other\n",
        |file| assert!(file.rotate("SERVICE_AUTH_TOKEN", "other")),
        "ENVIRONMENT=production\n#SERVICE_AUTH_TOKEN=short\nSERVICE_AUTH_TOKEN=other\nSERVICE_AUTH_TOKEN=other\n",
    );
    // A second rotation, and a previous value that is in a file of its own.
    check(
        &format!("JWT_SECRET={strong}\nJWT_SECRET_PREVIOUS=older\n"),
        |file| {
            file.rotate("JWT_SECRET", "new");
        },
        &format!("JWT_SECRET=new\n#JWT_SECRET_PREVIOUS=older\nJWT_SECRET_PREVIOUS={strong}\n"),
    );
    check(
        &format!("JWT_SECRET={strong}\nJWT_SECRET_PREVIOUS_FILE=f\n"),
        |file| assert!(file.rotate("JWT_SECRET", "new")),
        &format!("#JWT_SECRET={strong}\nJWT_SECRET=new\nJWT_SECRET_PREVIOUS_FILE=f\n"),
    );
    for name in ["ENCRYPTION_KEY_PREVIOUS", "JWT_SECRT"] {
        check(
            &format!("A=1\n{name}=x"),
            |file| assert!(file.retire(name)),
            &format!("A=1\n#{name}=x\n"),
        );
    }
    check(
        "ENCRYPTION_KEY=change-me\nPORT=1\n",
        |file| {
            assert!(!file.rotate("ENCRYPTION_KEY", "new"));
            assert!(!file.retire("PORT"));
        },
        "ENCRYPTION_KEY=new\n",
    );
    check(
        "",
        |file| assert!(file.keep("ENCRYPTION_KEY", "a key", "new")),
        "#ENCRYPTION_KEY=a key\n",
    );
}

#[test]
fn what_cannot_be_read_back_is_not_written() {
    let text = "A=1\nB='open\n";
    let (directory, mut file) = file(text);
    file.set("A", "new");
    assert!(file.save().is_err());
    let path = directory.path().join(".env");
    assert_eq!(fs::read_to_string(path).unwrap(), text);
}

#[test]
fn real_values() {
    let (_directory, file) = file("A=\"real # value\"\nB=change-me\nC=# why\nD=\n");
    assert!(file.has("A"));
    for name in ["B", "C", "D", "E"] {
        assert!(!file.has(name), "{name}");
    }
}

#[test]
fn the_file_is_replaced_with_its_mode() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("real");
    fs::write(&path, "X=1\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let link = directory.path().join(".env");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let mut file = EnvFile::open(&link).unwrap();
    file.set("A", "new");
    file.save().unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&path).unwrap(), "X=1\nA=new\n");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    let error = EnvFile::open(directory.path()).unwrap_err();
    assert!(error.to_string().ends_with("cannot be written"));
}
