//! Every setting has an effect.

use std::path::{Path, PathBuf};

use regex::Regex;
use syn::{Fields, Item, Visibility};

/// The structs of settings are public for the tests that start a daemon, so the compiler does not
/// warn of a field that nothing reads: its variable would be accepted and have no effect.
#[test]
fn every_field_of_the_configuration_is_read() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let config = src.join("config");
    let (declaring, reading): (Vec<PathBuf>, Vec<PathBuf>) = files(&src)
        .into_iter()
        .partition(|file| file.starts_with(&config));
    let code: Vec<String> = reading.iter().map(|file| without_tests(file)).collect();
    let mut unread = Vec::new();
    let mut count = 0;
    for (name, field) in declaring.iter().flat_map(|file| fields(file)) {
        count += 1;
        let access = Regex::new(&format!(r"\.{field}\b[^(]")).unwrap();
        if !code.iter().any(|text| access.is_match(text)) {
            unread.push(format!("{name}.{field}"));
        }
    }
    assert!(count > 30, "only {count} fields were found");
    assert!(
        unread.is_empty(),
        "no code outside of src/config reads {}",
        unread.join(", ")
    );
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
    found
}

fn without_tests(file: &Path) -> String {
    let mut text = std::fs::read_to_string(file).unwrap();
    if let Some(at) = text.find("#[cfg(test)]\nmod tests {") {
        text.truncate(at);
    }
    text
}

/// The public fields of the structs that are named `…Config`.
fn fields(file: &Path) -> Vec<(String, String)> {
    let parsed = syn::parse_file(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut found = Vec::new();
    for item in parsed.items {
        let Item::Struct(item) = item else { continue };
        let name = item.ident.to_string();
        let Fields::Named(fields) = item.fields else {
            continue;
        };
        if !name.ends_with("Config") {
            continue;
        }
        for field in fields.named {
            if let (Visibility::Public(_), Some(field)) = (field.vis, field.ident) {
                found.push((name.clone(), field.to_string()));
            }
        }
    }
    found
}
