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

/// How many lines the terminal on stdout shows; `None` when stdout is no terminal.
pub(super) fn height() -> Option<u16> {
    let (_, terminal_size::Height(lines)) = terminal_size::terminal_size_of(io::stdout())?;
    Some(lines)
}

/// What replaces the contents of a terminal. Lines are overwritten one by one, because an empty
/// screen in between flickers.
pub(super) fn screen(text: &str, height: Option<u16>) -> String {
    const HOME: &str = "\u{1b}[H";
    const CLEAR_LINE: &str = "\u{1b}[K";
    const CLEAR_REST: &str = "\u{1b}[J";
    let mut lines: Vec<&str> = text.lines().collect();
    // The cursor stands on the last line of the terminal.
    let room = height.map_or(usize::MAX, |height| usize::from(height).max(3) - 1);
    let hidden = (lines.len() > room).then(|| format!("… {} more lines", lines.len() - room + 1));
    if let Some(hidden) = &hidden {
        lines.truncate(room - 1);
        lines.push(hidden);
    }
    let end = format!("{CLEAR_LINE}\n");
    format!("{HOME}{}{CLEAR_LINE}{CLEAR_REST}", lines.join(&end))
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

    #[test]
    fn a_screen_shows_what_fits() {
        assert_eq!(
            screen("a\nb", Some(24)),
            "\u{1b}[Ha\u{1b}[K\nb\u{1b}[K\u{1b}[J"
        );
        let long = "x\n".repeat(30);
        let shown = screen(&long, Some(10));
        assert_eq!(shown.lines().count(), 9);
        assert!(shown.contains("… 22 more lines"), "{shown}");
        assert_eq!(screen(&long, None).lines().count(), 30);
    }
}
