//! The text of `.env.example`.

use super::env_file::assignments;
use super::secret_name::SecretName;
use super::variable::{Default, Section, Variable};
use super::variables::VARIABLES;

const WIDTH: usize = 88;

const INTRODUCTION: &str = "\
# Every variable that todoctl reads. Copy this file to .env, change what you need, and run
# `todoctl gen-secrets --write .env`, which fills in the secrets.
#
# A line that is commented out shows the default, or an example where there is no default.
# The process's environment has precedence over the file. An empty value counts as not set.
#
# todoctl reads quotes, $ and # as a shell does, but `docker run --env-file` takes everything
# after the = literally: avoid them where you can.
#
# Secrets and URLs with passwords can also be read from a file: NAME_FILE=/run/secrets/name.
# White space around the value is dropped. NAME and NAME_FILE together are an error.
";

/// A `.env` file with every variable, its help text, and its default or an example.
#[must_use]
pub fn env_example() -> String {
    let mut text = INTRODUCTION.to_owned();
    let mut section = None;
    let mut last_help = "";
    for variable in VARIABLES.iter() {
        if section != Some(variable.section) {
            section = Some(variable.section);
            text += &heading(variable.section);
            if variable.section == Section::Secrets {
                text += &about_generated_secrets();
            }
        }
        // Several variables in a row may share one text.
        if variable.help != last_help {
            last_help = variable.help;
            text.push('\n');
            text += &comment(variable.help);
            if let Some(alias) = variable.alias {
                text += &comment(&format!("Also read from {alias}."));
            }
        }
        text += &line(variable);
    }
    text
}

fn heading(section: Section) -> String {
    let title = section.title();
    let rule = "-".repeat(WIDTH.saturating_sub(title.len() + 7));
    format!("\n# {rule} {title} ---\n")
}

fn about_generated_secrets() -> String {
    let all = SecretName::ALL.into_iter();
    let required = all.filter(|name| name.declaration().required);
    let names: Vec<&str> = required.map(SecretName::as_str).collect();
    comment(&format!(
        "With SQLite, these are generated at the first start if they are not set, into the \
         directory secrets/ beside the database: {}",
        names.join(", ")
    ))
}

/// Comment lines of at most `WIDTH` characters.
fn comment(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from("#");
    for word in text.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            lines += &line;
            lines.push('\n');
            "#".clone_into(&mut line);
        }
        line.push(' ');
        line += word;
    }
    lines + &line + "\n"
}

/// `gen-secrets` recognises the placeholder and fills the secret in.
fn line(variable: &Variable) -> String {
    let name = variable.name;
    if SecretName::ALL
        .into_iter()
        .any(|secret| secret.as_str() == name)
    {
        return format!("{name}=change-me\n");
    }
    let value = match variable.default {
        Default::Value(text) => text,
        _ => variable.example.unwrap_or_default(),
    };
    // As the reader of the file gets it back without the comment sign.
    let plain = format!("{name}={value}");
    let is_read_back = |text: &str| {
        assignments(text).is_ok_and(|read| read.get(name).map_or("", String::as_str) == value)
    };
    if is_read_back(&plain) {
        format!("#{plain}\n")
    } else {
        format!("#{name}=\"{value}\"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_without_its_comment_sign() {
        let text = env_example();
        for variable in VARIABLES.iter() {
            let begin = format!("#{}=", variable.name);
            let lines: Vec<&str> = text.lines().filter(|one| one.starts_with(&begin)).collect();
            let read = assignments(&lines.join("\n").replace('#', "")).unwrap();
            let expected = match variable.default {
                Default::Value(text) => text,
                _ => variable.example.unwrap_or_default(),
            };
            if !lines.is_empty() {
                let value = read.get(variable.name).map(String::as_str);
                assert_eq!(value.unwrap_or_default(), expected, "{}", variable.name);
            }
        }
    }

    #[test]
    fn the_committed_example_is_up_to_date() {
        let committed = include_str!("../../.env.example");
        assert!(
            committed == env_example(),
            ".env.example is out of date: cargo run -- config example > .env.example"
        );
    }
}
