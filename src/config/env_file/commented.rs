//! Values that are in comments of a `.env` file.

use super::line::{Assignment, numbered};

/// A line that assigns a value in a comment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Commented {
    /// Among the whole lines.
    pub(crate) index: usize,
    /// In the file, from 1.
    pub(crate) number: usize,
    /// Without the comment's sign.
    pub(crate) text: String,
}

/// The lines of `text` with a value of `name` in a comment that can be used.
pub(crate) fn commented(
    text: &str,
    name: &str,
    is_usable: impl Fn(&str) -> bool,
) -> Vec<Commented> {
    let lines = numbered(text).into_iter();
    let found = lines.filter_map(|line| {
        let (blank, rest) = line.text.split_once('#')?;
        let inner = rest.trim_start_matches(['#', ' ', '\t']);
        let one = Assignment::of(inner, name)?;
        (blank.trim().is_empty() && one.is_real() && is_usable(&one.value)).then(|| Commented {
            index: line.index,
            number: line.number,
            text: inner.to_owned(),
        })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_comments() {
        let text =
            "A=1\n# A=long enough\n##export A=usable # why\n#A=\n#A=change-me\n# see A=x\n#AA=x\n";
        let found = commented(text, "A", |value| value.len() > 5);
        let found: Vec<_> = found.iter().map(|one| (one.number, &*one.text)).collect();
        assert_eq!(found, [(3, "export A=usable # why\n")]);
    }
}
