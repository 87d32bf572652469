//! The command line as a whole, and the commands that texts of this program suggest.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Command, CommandFactory};
use proc_macro2::{Group, TokenStream, TokenTree};

use super::Cli;

mod remedies;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_and_option_has_a_help_text() {
    fn check(command: &Command) {
        let name = command.get_name();
        assert!(command.get_about().is_some(), "{name}");
        for one in command.get_arguments() {
            assert!(one.get_help().is_some(), "{name} {}", one.get_id());
        }
        command.get_subcommands().for_each(check);
    }
    check(&Cli::command());
}

#[test]
fn the_readme_lists_every_command() {
    let readme = include_str!("../../README.md");
    for command in Cli::command().get_subcommands() {
        let begin = format!("\n| `todoctl {}", command.get_name());
        let is_listed = readme
            .split(&begin)
            .skip(1)
            .any(|rest| rest.starts_with([' ', '`']));
        assert!(is_listed, "README.md does not list {}", command.get_name());
    }
}

/// Remedies, examples and other texts. What follows a command in a sentence is ignored, unless
/// it begins with an option that the command does not have.
#[test]
fn suggested_commands_can_be_parsed() {
    let command = Cli::command();
    let mut count = 0;
    let mut wrong = Vec::new();
    for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        for literal in literals(text.parse().unwrap()) {
            for suggestion in suggestions(&command, &literal) {
                count += 1;
                if !can_be_parsed(&command, &suggestion) {
                    wrong.push(format!("{}: {}", file.display(), suggestion.join(" ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 80, "only {count} suggestions were found");
}

#[test]
fn suggestions_and_their_faults() {
    let command = Cli::command();
    for (text, expected) in [
        ("run it: todoctl jobs run", false),
        ("run it: todoctl jobs run reminders", true),
        ("as JSON: todoctl db check --jsonn", false),
        ("todoctl db check again; if it fails again, …", true),
        ("todoctl gen-secrets --only {name} --write {}", true),
        ("todoctl gen-secrets --only", false),
        ("{chown}; or: sudo -u '#{owner}' todoctl serve", true),
    ] {
        let found = suggestions(&command, text);
        assert_eq!(found.len(), 1, "{text}");
        assert_eq!(can_be_parsed(&command, &found[0]), expected, "{text}");
    }
    assert!(suggestions(&command, "a todoctl daemon listens there").is_empty());
}

/// The Rust files below `folder`, without tests, which contain wrong commands on purpose.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
    found
}

/// The string literals in `tokens`, those in the arguments of macros included. Doc comments are
/// left out: they name commands without their arguments.
fn literals(tokens: TokenStream) -> Vec<String> {
    let is_doc = |group: &Group| {
        let first = group.stream().into_iter().next();
        matches!(first, Some(TokenTree::Ident(name)) if name == "doc")
    };
    let of_tree = |tree| match tree {
        TokenTree::Group(group) if !is_doc(&group) => literals(group.stream()),
        TokenTree::Literal(literal) => match syn::Lit::new(literal) {
            syn::Lit::Str(text) => vec![text.value()],
            _ => Vec::new(),
        },
        TokenTree::Group(_) | TokenTree::Ident(_) | TokenTree::Punct(_) => Vec::new(),
    };
    tokens.into_iter().flat_map(of_tree).collect()
}

/// The words after each `todoctl SUBCOMMAND` in `text`, up to the end of the command.
fn suggestions(command: &Command, text: &str) -> Vec<Vec<String>> {
    let is_suggestion = |words: &Vec<String>| {
        let first = words.first().map_or("", String::as_str);
        command.find_subcommand(first).is_some()
    };
    let words_of = |rest: &str| {
        let end = rest.find([';', ',', '(', ')', '|', '>', '\n', '…', '`']);
        let line = &rest[..end.unwrap_or(rest.len())];
        let line = line.split("   ").next().unwrap_or_default();
        let line = line.trim_end_matches(['.', ':']);
        // Placeholders: a name of a secret, options that may be left out, anything else.
        let line = ["{name}", "{current}"]
            .iter()
            .fold(line.to_owned(), |line, one| line.replace(one, "JWT_SECRET"));
        let line = line.replace("{newest}", "1");
        shlex::split(&line).unwrap_or_default()
    };
    let after = text.split("todoctl ").skip(1);
    after.map(words_of).filter(is_suggestion).collect()
}

fn can_be_parsed(command: &Command, words: &[String]) -> bool {
    let parses = |length: &usize| {
        let words = words[..*length].iter().map(String::as_str);
        let line = std::iter::once("todoctl").chain(words);
        match command.clone().try_get_matches_from(line) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::DisplayHelp,
        }
    };
    let longest = (1..=words.len()).rev().find(parses);
    longest.is_some_and(|length| words.get(length).is_none_or(|next| !next.starts_with('-')))
}
