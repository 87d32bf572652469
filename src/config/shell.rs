//! Words and programs in commands that are shown for copying.

use std::borrow::Cow;
use std::path::Path;

/// `path` as one word of a shell command, quoted if necessary.
pub(crate) fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    // Fails only for a NUL, which no path contains.
    shlex::try_quote(&text).map_or_else(|_| text.to_string(), Cow::into_owned)
}

/// Edits `file` in its place. A link to it stays one.
pub(crate) fn sed(edits: &str, file: &Path) -> String {
    let follow = if file.is_symlink() {
        " --follow-symlinks"
    } else {
        ""
    };
    format!("sed -i{follow} {edits} {}", shell_word(file))
}
