//! What a remedy must not have. The unit tests of `src/cli` use this file too.

/// What is wrong with the text of a remedy: something left to replace, a line that is neither a
/// command nor a comment, `sudo`, or nothing but another check.
#[must_use]
pub fn remedy_faults(remedy: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let (comments, commands): (Vec<&str>, Vec<&str>) =
        remedy.lines().partition(|line| line.starts_with("# "));
    for line in &commands {
        let Some(words) = shlex::split(line) else {
            faults.push(format!("no shell command: {line}"));
            continue;
        };
        // HOST is a variable too.
        let names_variables = ["unset ", "config unset ", "config respell "];
        if names_variables.iter().any(|command| line.contains(command)) {
            continue;
        }
        for word in &words {
            let value = word
                .split_once('=')
                .map_or(word.as_str(), |(_, value)| value);
            // A statement of SQL is one word, in which these are its own words.
            let mut parts = value.split(['=', ':', '/', '@', ',']);
            if parts.any(|part| PLACEHOLDERS.contains(&part)) {
                faults.push(format!("{word} is left to replace: {line}"));
            }
        }
    }
    // Who reads it may be neither root nor the user who is meant.
    let without_user = remedy.replace("sudo -u '#", "");
    if without_user.contains("sudo ") {
        faults.push("it has sudo".to_owned());
    }
    for sign in ["\u{2026}", "{", "<your", "$DATABASE_URL"] {
        if remedy.contains(sign) {
            faults.push(format!("it has {sign:?}"));
        }
    }
    let is_check =
        |line: &str| CHECKS.iter().any(|check| line.starts_with(check)) && !line.contains(" --fix");
    if comments.is_empty() && !commands.is_empty() && commands.iter().all(|line| is_check(line)) {
        faults.push("it only checks again".to_owned());
    }
    if comments
        .iter()
        .any(|line| CIRCULAR.iter().any(|text| line.contains(text)))
    {
        faults.push("it only says to check again".to_owned());
    }
    faults
}

const PLACEHOLDERS: &[&str] = &[
    "ROLE",
    "FILE",
    "PID",
    "HOST",
    "HOST:PORT",
    "USER",
    "PASSWORD",
    "NAME",
    "ADMIN",
    "TABLE",
    "DATABASE",
    "OLD_OWNER",
    "VALUE",
];

const CHECKS: [&str; 3] = ["todoctl doctor", "todoctl db check", "todoctl config check"];

const CIRCULAR: [&str; 4] = [
    "run doctor",
    "run todoctl doctor",
    "then: todoctl db check",
    "todoctl db check again",
];
