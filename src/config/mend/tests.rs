use super::*;

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(mended(text), expected);
    assert_eq!(mends(expected), []);
    assert_eq!(mends(text).is_empty(), text == expected);
}

#[test]
fn characters_that_nobody_sees() {
    check("A=1\n\u{200b}PORT=1\n", "A=1\nPORT=1\n");
    check("A=1\n\u{feff}PORT=1\n", "A=1\nPORT=1\n");
    check("PO\u{ad}RT\u{a0}=1\n\u{200b}\n", "PORT=1\n\n");
    check(
        "export \u{200e}PORT=1\n\u{200b}# x\n",
        "export PORT=1\n# x\n",
    );
    // They are the value's, and the byte-order mark the file's.
    for text in ["\u{feff}PORT=1\n", "PORT=1\u{200b}\n", "# \u{200b} a=b\n"] {
        check(text, text);
    }
    let found = mends("A=1\n\u{200b}PORT=1\n");
    assert_eq!(found[0].name.as_deref(), Some("PORT"));
    let said = found[0].message(Path::new(".env"));
    assert!(
        said.ends_with("(U+200B) beside or in its name in line 2 of .env"),
        "{said}"
    );
}

#[test]
fn two_variables_in_one_line() {
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    for first in [
        "JWT_SECRET=0f1e2d3c4b5a6978",
        "SERVICE_AUTH_TOKEN=0f1eABC",
        "REDIS_URL=redis://h/0",
        "DATABASE_URL=postgresql://u:p@h/d?sslmode=require",
        "JWT_SECRET='a b'",
        "EMAIL_FROM=\"Todo <a@b.c>\"",
        "LOG_LEVEL=info",
        "OTHER=1",
        "PORT=8000 # main",
        "# the end",
        &format!("ENCRYPTION_KEY={key}"),
    ] {
        for second in ["RATE_LIMIT_PER_MINUTE=600", "export DB_POOL_SIZE=5"] {
            if first.contains('#') && second.starts_with("export") {
                continue;
            }
            check(
                &format!("A=1\n{first}{second}\n"),
                &format!("A=1\n{first}\n{second}\n"),
            );
        }
    }
    check("JWT_SECRET=abcPORT=9000", "JWT_SECRET=abc\nPORT=9000");
    check(
        "A=1\r\nJWT_SECRET=ABCPORT=1HOST=::1\r\n",
        "A=1\r\nJWT_SECRET=ABC\r\nPORT=1\r\nHOST=::1\r\n",
    );
    check("A=x PORT=1\n", "A=x\nPORT=1\n");
}

#[test]
fn blanks_without_quotes() {
    check(
        "EMAIL_FROM=Todo <a@b.c>\nPORT=1 # x y\n",
        "EMAIL_FROM='Todo <a@b.c>'\nPORT=1 # x y\n",
    );
    check(
        "CORS_ORIGINS=https://a.b, https://c.d # both\r\n",
        "CORS_ORIGINS='https://a.b, https://c.d' # both\r\n",
    );
    check(
        "DATABASE_URL=psql 'postgresql://h/d'\n",
        "DATABASE_URL=\"psql 'postgresql://h/d'\"\n",
    );
    check("A=1\nPORT=1 ", "A=1\nPORT=1");
    check("EMAIL_FROM=A <a@b.c> ", "EMAIL_FROM='A <a@b.c>'");
    for line in ["OTHER=a b", "JWT_SECRET='a b", "EMAIL_FROM=it's $x y"] {
        check(line, line);
    }
}

#[test]
fn values_that_contain_the_sign() {
    for line in [
        "DATABASE_URL=postgresql://u:p@h/d?PORT=1&HOST=x&host=/tmp",
        "DATABASE_URL=postgresql://u:p@h/d?options=-c%20a=b",
        "JWT_SECRET=0f1eabcPORT=",
        "JWT_SECRET=0f1eabcPORT==",
        "OPTIONS=SUPPORT=1",
        "OPTIONS=-DPORT=1 ",
        "LOG_LEVEL=info,sqlx=debug",
        "EMAIL_FROM='Todo PORT=1 <a@b.c>'",
        "COMMAND='env HOST=::1 x'",
        "MY_DATABASE_URL=x",
        "#PORT=8000",
        "# the old PORT=8000 and DB_HOST=x",
        "PORT=1 # not PORT=2",
        "JWT_SECRET=JWT_SECRET=0f1e",
    ] {
        check(&format!("{line}\n"), &format!("{line}\n"));
    }
    let pem = "JWT_SECRET=\"-----BEGIN X-----\nabPORT=1\n-----END X-----\"\n";
    check(pem, pem);
}

#[test]
fn lines_beside_one_with_a_value() {
    check(
        "JWT_SECRET=change-me\n# x\nJWT_SECRET=a\n",
        "# x\nJWT_SECRET=a\n",
    );
    check("JWT_SECRET=a\nexport JWT_SECRET=''\n", "JWT_SECRET=a\n");
    check("PORT=1\nA=2\nPORT='1'\n", "PORT=1\nA=2\n");
    check("PORT=1\nPORT=\nPORT=2\n", "PORT=1\nPORT=2\n");
    for text in [
        "JWT_SECRET=change-me\nJWT_SECRET=\n",
        "PORT=1\nPORT=2\n",
        "OTHER=1\nOTHER=1\n",
    ] {
        check(text, text);
    }
    let found = conflicts("PORT=1\nPORT=change-me\nPORT=2\nPORT=1\nHOST=x\n");
    assert_eq!(found[0].numbers, [1, 3]);
    assert_eq!(found[0].line_with("2"), Some(3));
    assert_eq!(found.len(), 1);
}
