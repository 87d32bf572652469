//! What the terminal shows: its width and colours.

use std::io::{self, IsTerminal as _};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

/// The widths that tables are laid out for.
const WIDTHS: std::ops::RangeInclusive<u16> = 80..=140;

/// How many columns a table on stdout may take; `None` when stdout is no terminal.
pub(super) fn width() -> Option<u16> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let (terminal_size::Width(columns), _) = terminal_size::terminal_size_of(stdout)?;
    Some(columns.clamp(*WIDTHS.start(), *WIDTHS.end()))
}

/// Whether stdout shows colour: a terminal, without `NO_COLOR` and with a `TERM` that has it.
pub(crate) fn stdout_has_colour() -> bool {
    AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

/// As [`stdout_has_colour`], for stderr.
pub(super) fn stderr_has_colour() -> bool {
    AutoStream::choice(&io::stderr()) != ColorChoice::Never
}

/// The meaning of a colour. Colours repeat what the words say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Attention,
    Bad,
    Muted,
}

impl Tone {
    /// `text` in the colour of this tone.
    pub(crate) fn paint(self, text: &str) -> String {
        let style = match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Attention => AnsiColor::Yellow.on_default().bold(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Muted => Style::new().dimmed(),
        };
        format!("{style}{text}{style:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paint_ends_its_colour() {
        assert_eq!(Tone::Good.paint("ok"), "\u{1b}[32mok\u{1b}[0m");
    }
}
