//! Every setting has an effect.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
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
    let mut read = BTreeSet::new();
    for file in &reading {
        add_fields_read(tokens(file), &mut read);
    }
    let declared: Vec<(String, String)> = declaring.iter().flat_map(|file| fields(file)).collect();
    assert!(declared.len() > 30, "only {declared:?}");
    let unread: Vec<_> = declared
        .iter()
        .filter(|(_, field)| !read.contains(field))
        .collect();
    assert!(
        unread.is_empty(),
        "no code outside of src/config reads {unread:?}"
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

/// The code of a file without its tests, which come last.
fn tokens(file: &Path) -> TokenStream {
    let mut text = std::fs::read_to_string(file).unwrap();
    if let Some(at) = text.find("#[cfg(test)]\nmod tests {") {
        text.truncate(at);
    }
    text.parse().unwrap()
}

/// Adds each `name` of a `.name` that is not a call, in macros too.
fn add_fields_read(tokens: TokenStream, read: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => add_fields_read(group.stream(), read),
            TokenTree::Ident(name) => {
                let before = index.checked_sub(1).and_then(|at| tokens.get(at));
                let is_member =
                    matches!(before, Some(TokenTree::Punct(mark)) if mark.as_char() == '.');
                let is_call = matches!(
                    tokens.get(index + 1),
                    Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis
                );
                if is_member && !is_call {
                    read.insert(name.to_string());
                }
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
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
