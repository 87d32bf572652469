//! Random texts in which folding and searching may go wrong.

use proptest::prelude::*;
use proptest::sample::select;

/// Parts of texts that are folded, or that mean something to LIKE, to FTS5 or to JSON.
const PARTS: [&str; 52] = [
    "a",
    "b",
    "s",
    "S",
    "ss",
    "ß",
    "ẞ",
    "i",
    "I",
    "İ",
    "ı",
    "I\u{307}",
    "\u{307}",
    "Σ",
    "σ",
    "ς",
    "ΟΔΟΣ",
    "é",
    "e\u{301}",
    "E\u{301}",
    "ệ",
    "e\u{323}\u{302}",
    "e\u{302}\u{323}",
    "ﬁ",
    "ＡＢ",
    "℡",
    "½",
    "Ⅷ",
    "ｶﾞ",
    "가",
    "가",
    "α",
    "ᾳ",
    "\u{345}",
    "😀",
    "❤\u{fe0f}",
    "❤",
    "👩\u{200d}👧",
    "\u{ad}",
    "\u{34f}",
    "%",
    "_",
    "\\",
    "\"",
    "'",
    "*",
    "{",
    "NEAR(",
    " ",
    "  ",
    "-",
    ":",
];

/// A text of `length` parts.
pub fn text(length: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    let part = prop_oneof![
        8 => select(&PARTS[..]).prop_map(str::to_owned),
        1 => any::<char>().prop_filter("U+0000 is refused", |sign| *sign != '\0').prop_map(String::from),
    ];
    prop::collection::vec(part, length).prop_map(|parts| parts.concat())
}
