//! The modules of a crate as their source has them: what each defines, re-exports and imports.
//! Tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

use crate::graph::Graph;

type Name = Vec<String>;

/// `use path as name`, or `use path::*` where there is no name.
#[derive(Debug, Clone)]
struct Use {
    name: Option<String>,
    path: Name,
    /// Visible outside of its module.
    is_public: bool,
}

#[derive(Debug, Default)]
struct Module {
    uses: Vec<Use>,
    /// Paths in the code, macro bodies included.
    paths: BTreeSet<Name>,
}

/// All modules by their path from the root, whose own path is empty.
#[derive(Debug, Default)]
pub struct Crate(BTreeMap<Name, Module>);

impl Crate {
    /// Reads `lib.rs` and `main.rs` of `folder`, and what they declare.
    pub fn read(folder: &Path) -> Self {
        let mut all = Self::default();
        all.read_file(&folder.join("lib.rs"), folder, Vec::new());
        all.read_file(&folder.join("main.rs"), folder, vec!["main".to_owned()]);
        all
    }

    fn read_file(&mut self, file: &Path, folder: &Path, name: Name) {
        let text = std::fs::read_to_string(file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed =
            syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.read_items(&parsed.items, folder, name);
    }

    /// `folder` is where files of child modules are.
    fn read_items(&mut self, items: &[Item], folder: &Path, name: Name) {
        let mut module = Module::default();
        for item in items {
            match item {
                Item::Mod(child) if is_test(&child.attrs) => {}
                Item::Mod(child) => {
                    let child_name = child.ident.to_string();
                    let child_folder = folder.join(&child_name);
                    let mut path = name.clone();
                    path.push(child_name);
                    match &child.content {
                        Some((_, items)) => self.read_items(items, &child_folder, path),
                        None => self.read_file(&module_file(&child_folder), &child_folder, path),
                    }
                }
                item => module.visit_item(item),
            }
        }
        self.0.insert(name, module);
    }

    /// Who imports whom. A re-export from a module's own children is no import.
    pub fn imports(&self) -> Graph {
        let mut graph = Graph::default();
        for (name, module) in &self.0 {
            let imported = module
                .uses
                .iter()
                .map(|one| (&one.path, one.is_public))
                .chain(self.paths(name).map(|path| (path, false)));
            for (path, is_public) in imported {
                for target in self.resolve(name, path, &mut BTreeSet::new()) {
                    let is_reexport = is_public && target.starts_with(name);
                    if target != *name && !is_reexport {
                        graph.add(&display(name), &display(&target), &path.join("::"));
                    }
                }
            }
        }
        graph
    }

    /// Paths in a module's code. A single name that no `use` brings in is an item of its own, a
    /// local variable, or another crate's.
    fn paths(&self, module: &Name) -> impl Iterator<Item = &Name> {
        let is_import = |path: &&Name| {
            path.len() > 1
                || path
                    .iter()
                    .any(|name| self.bindings(module, name).next().is_some())
        };
        self.0[module].paths.iter().filter(is_import)
    }

    /// The modules that define what `path` means in `module`; none where that is another crate's.
    fn resolve(
        &self,
        module: &Name,
        path: &[String],
        seen: &mut BTreeSet<(Name, Name)>,
    ) -> Vec<Name> {
        if !seen.insert((module.clone(), path.to_vec())) {
            return Vec::new();
        }
        let Some((first, rest)) = path.split_first() else {
            return vec![module.clone()];
        };
        match first.as_str() {
            "crate" | "todoctl" => return self.descend(&Name::new(), rest, seen),
            "self" => return self.descend(module, rest, seen),
            "super" => {
                let parent = module[..module.len().saturating_sub(1)].to_vec();
                return if rest.first().is_some_and(|next| next == "super") {
                    self.resolve(&parent, rest, seen)
                } else {
                    self.descend(&parent, rest, seen)
                };
            }
            _ => {}
        }
        if self.is_bound(module, first) {
            self.descend(module, path, seen)
        } else {
            Vec::new()
        }
    }

    /// Whether `name` is a child of `module` or comes from one of its imports.
    fn is_bound(&self, module: &Name, name: &str) -> bool {
        let mut child = module.clone();
        child.push(name.to_owned());
        self.0.contains_key(&child) || self.bindings(module, name).next().is_some()
    }

    fn bindings<'a>(&'a self, module: &Name, name: &'a str) -> impl Iterator<Item = &'a Use> {
        self.0[module]
            .uses
            .iter()
            // `use name::name` imports from another crate of that name.
            .filter(move |one| one.name.as_deref() == Some(name) && one.path[0] != name)
    }

    /// The same for a path that begins inside of `module`.
    fn descend(
        &self,
        module: &Name,
        path: &[String],
        seen: &mut BTreeSet<(Name, Name)>,
    ) -> Vec<Name> {
        let Some((first, rest)) = path.split_first() else {
            return vec![module.clone()];
        };
        let mut child = module.clone();
        child.push(first.clone());
        let mut found = Vec::new();
        if self.0.contains_key(&child) {
            found.extend(self.descend(&child, rest, seen));
        }
        for binding in self.bindings(module, first) {
            let mut longer = binding.path.clone();
            longer.extend_from_slice(rest);
            found.extend(self.resolve(module, &longer, seen));
        }
        if found.is_empty() {
            for glob in self.0[module].uses.iter().filter(|one| one.name.is_none()) {
                for target in self.resolve(module, &glob.path, seen) {
                    if target != *module && self.is_bound(&target, first) {
                        found.extend(self.descend(&target, path, seen));
                    }
                }
            }
        }
        if found.is_empty() {
            // Defined here, by an item or a macro.
            found.push(module.clone());
        }
        found
    }
}

fn display(name: &Name) -> String {
    if name.is_empty() {
        "crate".to_owned()
    } else {
        name.join("::")
    }
}

/// `child.rs` or `child/mod.rs`.
fn module_file(child: &Path) -> PathBuf {
    let file = child.with_extension("rs");
    if file.exists() {
        file
    } else {
        child.join("mod.rs")
    }
}

/// `#[cfg(test)]` or `#[test]`.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<syn::Path>()
                    .is_ok_and(|path| path.is_ident("test"))
    })
}

impl Module {
    fn add_uses(&mut self, tree: &UseTree, before: &[String], is_public: bool) {
        let then = |name: &dyn ToString| {
            let mut path = before.to_vec();
            path.push(name.to_string());
            path
        };
        let mut add = |name: Option<String>, path: Name| {
            self.uses.push(Use {
                name,
                path,
                is_public,
            });
        };
        match tree {
            UseTree::Path(path) => self.add_uses(&path.tree, &then(&path.ident), is_public),
            UseTree::Name(name) if name.ident == "self" => {
                add(before.last().cloned(), before.to_vec());
            }
            UseTree::Name(name) => add(Some(name.ident.to_string()), then(&name.ident)),
            UseTree::Rename(rename) if rename.ident == "self" => {
                add(Some(rename.rename.to_string()), before.to_vec());
            }
            UseTree::Rename(rename) => add(Some(rename.rename.to_string()), then(&rename.ident)),
            UseTree::Glob(_) => add(None, before.to_vec()),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_uses(tree, before, is_public);
                }
            }
        }
    }

    /// Paths in what a macro is given or made of, which `syn` does not parse.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path = Name::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.paths.insert(std::mem::take(&mut path));
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' && !path.is_empty() => colons += 1,
                TokenTree::Group(group) => {
                    self.paths.insert(std::mem::take(&mut path));
                    colons = 0;
                    self.add_tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.paths.insert(std::mem::take(&mut path));
                    colons = 0;
                }
            }
        }
        self.paths.insert(path);
    }
}

impl<'ast> Visit<'ast> for Module {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Const(item) => &item.attrs,
            Item::Enum(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Static(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_public = !matches!(item.vis, Visibility::Inherited);
        if item.leading_colon.is_none() {
            self.add_uses(&item.tree, &[], is_public);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_test(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.paths.insert(
                path.segments
                    .iter()
                    .map(|one| one.ident.to_string())
                    .collect(),
            );
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.add_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {
        // `pub(in path)` imports nothing.
    }
}
