//! Two variables in one line, as after `echo NAME=value >> .env` to a file without a line break at its
//! end.

use crate::config::env_file::line::name;
use crate::config::variable::{Kind, Variable};
use crate::config::variables::VARIABLES;

/// Where a variable begins within the line of another one or of a comment, as after
/// `echo NAME=value >> .env` to a file without a line break at its end, and its name.
pub(super) fn second_variable(line: &str) -> Option<(usize, String)> {
    let is_comment = line.trim_start().starts_with('#');
    let first = if is_comment { 0 } else { line.find('=')? + 1 };
    let variable = name(line).and_then(Variable::of);
    let mut state = if is_comment {
        State::Comment
    } else {
        State::Value
    };
    let mut before = '=';
    for (at, sign) in line.char_indices().skip_while(|(at, _)| *at < first) {
        if sign == '='
            && !matches!(state, State::Quoted(_))
            && let Some(found) = name_before(line, first, at, &state, variable)
        {
            return Some(found);
        }
        state = state.after(before, sign);
        before = sign;
    }
    None
}

/// Where a position in a line is.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Value,
    Quoted(char),
    Comment,
}

impl State {
    fn after(self, before: char, sign: char) -> Self {
        match self {
            Self::Value if before == '\\' => Self::Value,
            Self::Value if matches!(sign, '"' | '\'') => Self::Quoted(sign),
            Self::Value if sign == '#' && (before.is_whitespace() || before == '=') => {
                Self::Comment
            }
            Self::Quoted(quote) if sign == quote && before != '\\' => Self::Value,
            state => state,
        }
    }
}

/// The name of a variable that ends before the `=` at `end`, and where it begins, if it follows a
/// value or a comment and is not a part of it.
fn name_before(
    line: &str,
    first: usize,
    end: usize,
    state: &State,
    variable: Option<&Variable>,
) -> Option<(usize, String)> {
    let written = &line[first..end];
    let known = known_names()
        .filter(|known| written.ends_with(known.as_str()))
        .max_by_key(String::len)?;
    let value = line[end + 1..].trim();
    let head = written.strip_suffix(known.as_str())?;
    let head = head.strip_suffix("export ").unwrap_or(head);
    let before = head.chars().next_back()?;
    if head.trim().is_empty() || value.is_empty() || value.starts_with('=') {
        return None;
    }
    let is_secret = variable.is_some_and(|one| one.kind != Kind::Plain);
    let is_apart = match before {
        // As in `# the old PORT=8000`.
        _ if *state == State::Comment => before.is_ascii_lowercase() || before.is_ascii_digit(),
        // As at the end of a key in base64.
        '=' => is_secret,
        // A longer name, a parameter of a URL, an option of a command.
        '_' | '?' | '&' | '.' | ':' | '-' | '$' => false,
        // As in `SUPPORT=`.
        'A'..='Z' => is_secret || known.contains('_'),
        _ => true,
    };
    is_apart.then(|| (first + head.len(), known))
}

/// Everything that todoctl reads.
fn known_names() -> impl Iterator<Item = String> {
    VARIABLES.iter().flat_map(|one| {
        let file = one.kind.has_file().then(|| one.file_name());
        one.names().map(str::to_owned).chain(file)
    })
}
