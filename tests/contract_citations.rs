//! Each rule of docs/contract.md is cited by a test, and each citation names a rule.
//!
//! A citation is `contract 3.4` in a comment, also as a list (`contract 3.4, 10.13`) or a
//! range (`contract 10.37 to 10.41`). The doc comment of a test below `tests/` may begin with
//! the numbers alone: `/// 3.4, 10.13: …`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is what ends a test"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use regex::Regex;

/// A section (`7`, `3.4`) or a numbered rule of section 10 (`10.31`).
type Number = (u32, Option<u32>);

/// Lists what clients must not depend on, so there is nothing to prove.
const NOT_A_RULE: Number = (12, None);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn number(text: &str) -> Number {
    let (section, part) = match text.split_once('.') {
        Some((section, part)) => (section, Some(part)),
        None => (text, None),
    };
    (
        section.parse().unwrap(),
        part.map(|part| part.parse().unwrap()),
    )
}

fn name((section, part): Number) -> String {
    match part {
        Some(part) => format!("{section}.{part}"),
        None => section.to_string(),
    }
}

/// The numbers that docs/contract.md defines: all of them, and those with rules of their own.
fn contract() -> (BTreeSet<Number>, BTreeSet<Number>) {
    let text = std::fs::read_to_string(root().join("docs/contract.md")).unwrap();
    let heading = Regex::new(r"^###? (\d+(?:\.\d+)?)\.? ").unwrap();
    let item = Regex::new(r"^(\d+)\. ").unwrap();
    let (mut all, mut rules) = (BTreeSet::new(), BTreeSet::new());
    let mut current = None;
    for line in text.lines() {
        if let Some(found) = heading.captures(line) {
            current = Some(number(&found[1]));
            all.extend(current);
        } else if let Some(section) = current
            && !line.is_empty()
            && !line.starts_with('#')
        {
            let rule = match item.captures(line) {
                Some(found) if section.0 == 10 => (10, Some(found[1].parse().unwrap())),
                _ => section,
            };
            all.insert(rule);
            rules.insert(rule);
        }
    }
    rules.remove(&NOT_A_RULE);
    (all, rules)
}

/// The source files below `directory`.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path
            .extension()
            .is_some_and(|kind| kind == "rs" || kind == "py")
        {
            found.push(path);
        }
    }
}

/// Finds citations in a text.
struct Citations {
    named: Regex,
    bare: Regex,
    one_or_range: Regex,
}

impl Citations {
    fn new() -> Self {
        const NUMBER: &str = r"\d+(?:\.\d+)?";
        let one = format!(r"{NUMBER}(?: \([abc]\))?(?: step \d)?");
        let list = format!("{one}(?:(?:, and |, | and | to ){one})*");
        let regex = |text: String| Regex::new(&text).unwrap();
        Self {
            named: regex(format!(r"(?i)\bcontract(?: section)? ({list})")),
            bare: regex(format!(r"(?m)^\s*/// ({list}):")),
            one_or_range: regex(format!(r"({NUMBER})(?: to ({NUMBER}))?(?: step \d)?")),
        }
    }

    /// The numbers that `text` cites.
    fn of(&self, text: &str, in_tests: bool) -> Vec<Number> {
        let bare = self.bare.captures_iter(text).filter(|_| in_tests);
        let mut cited = Vec::new();
        for list in self.named.captures_iter(text).chain(bare) {
            for found in self.one_or_range.captures_iter(&list[1]) {
                let first = number(&found[1]);
                cited.push(first);
                if let Some(last) = found.get(2) {
                    let last = number(last.as_str());
                    let parts = first.1.unwrap() + 1..=last.1.unwrap();
                    cited.extend(parts.map(|part| (first.0, Some(part))));
                }
            }
        }
        cited
    }
}

/// What of a file is tests: all of it below `tests/`, of `src/` what is compiled for tests alone.
fn tests_of<'t>(path: &Path, text: &'t str) -> &'t str {
    let is_test = path.starts_with(root().join("tests")) || path.ends_with("tests.rs");
    if is_test {
        return text;
    }
    text.find("#[cfg(test)]").map_or("", |at| &text[at..])
}

#[test]
fn every_rule_is_cited_by_a_test_and_every_citation_names_a_rule() {
    let (all, rules) = contract();
    assert!(rules.contains(&(10, Some(46))) && all.contains(&(3, Some(10))));
    let mut paths = Vec::new();
    files(&root().join("src"), &mut paths);
    files(&root().join("tests"), &mut paths);
    let citations = Citations::new();
    let mut proved = BTreeSet::new();
    for path in paths.iter().filter(|path| !path.ends_with(file!())) {
        let text = std::fs::read_to_string(path).unwrap();
        let in_tests = path.starts_with(root().join("tests"));
        for cited in citations.of(&text, in_tests) {
            assert!(
                all.contains(&cited),
                "{} cites contract {}, which does not exist",
                path.display(),
                name(cited)
            );
        }
        proved.extend(citations.of(tests_of(path, &text), in_tests));
    }
    let missing: Vec<String> = rules.difference(&proved).copied().map(name).collect();
    assert!(missing.is_empty(), "no test cites contract {missing:?}");
}

#[test]
fn citations_are_read_as_they_are_written() {
    let names = |text: &str, in_tests| -> Vec<String> {
        let cited = Citations::new().of(text, in_tests);
        cited.into_iter().map(name).collect()
    };
    assert_eq!(
        names("// Contract 1.1 (c), 10.5: x 2.2", false),
        ["1.1", "10.5"]
    );
    assert_eq!(
        names("contract section 5, and 8 and 9.2", false),
        ["5", "8", "9.2"]
    );
    assert_eq!(
        names("contract 5.2 step 3, and 10.29", false),
        ["5.2", "10.29"]
    );
    assert_eq!(
        names("contract 10.37 to 10.39", false),
        ["10.37", "10.38", "10.39"]
    );
    assert_eq!(names("    /// 3.4, 10.13: x", true), ["3.4", "10.13"]);
    assert!(names("    /// 3.4, 10.13: x", false).is_empty());
    assert!(names("    /// 1 to 255 characters", true).is_empty());
}

/// A page that promises something names the tests that show it, in the last column of its tables.
#[test]
fn every_promise_names_a_test_that_exists() {
    let named = Regex::new(r"`(tests/[a-z_/]+\.rs)::([a-z_0-9]+)`").unwrap();
    for (page, least) in [("docs/reliability.md", 25), ("SECURITY.md", 8)] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        let mut count = 0;
        for found in named.captures_iter(&text) {
            let (file, test) = (&found[1], &found[2]);
            let source = std::fs::read_to_string(root().join(file))
                .unwrap_or_else(|error| panic!("{page}: {file}: {error}"));
            assert!(
                source.contains(&format!("fn {test}(")),
                "{page}: {file} has no {test}"
            );
            count += 1;
        }
        assert!(count >= least, "{page} names {count} tests");
        let mut columns = "";
        for line in text.lines() {
            if line.starts_with('|') && columns.is_empty() {
                columns = line;
            } else if !line.starts_with('|') {
                columns = "";
            } else if columns.ends_with("| shown by |") && !line.starts_with("|---") {
                assert!(named.is_match(line), "{page} shows no test: {line}");
            }
        }
    }
}
