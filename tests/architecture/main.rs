//! The modules of `src` import each other in one direction only.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation ends a test"
)]

mod graph;
mod modules;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use graph::{Graph, circles};
use modules::Crate;

/// What each module at the top may import, as in docs/architecture.md.
const ALLOWED: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            "api",
            "jobs",
            "diagnostics",
            "store",
            "services",
            "config",
            "domain",
            "clock",
            "telemetry",
        ],
    ),
    ("api", MIDDLE),
    ("jobs", MIDDLE),
    ("diagnostics", MIDDLE),
    ("store", &["config", "domain", "clock"]),
    ("services", &["config", "domain", "clock"]),
    ("telemetry", &["store", "config", "domain", "clock"]),
    ("config", &["domain", "clock"]),
    ("clock", &["domain"]),
    ("domain", &[]),
];

const MIDDLE: &[&str] = &[
    "store",
    "services",
    "config",
    "domain",
    "clock",
    "telemetry",
];

fn source() -> Crate {
    Crate::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

#[test]
fn no_module_imports_itself_through_others() {
    let imports = source().imports().between_siblings();
    let found: Vec<String> = circles(&imports)
        .iter()
        .map(|circle| describe(&imports, circle))
        .collect();
    assert!(
        found.is_empty(),
        "{} import circles:\n\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn the_layers_import_downwards() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let imports = source().imports();
    let mut forbidden = BTreeSet::new();
    for (from, to, path) in imports.edges() {
        let (Some(from_layer), Some(to_layer)) = (layer(from), layer(to)) else {
            continue;
        };
        let may = allowed
            .get(from_layer)
            .unwrap_or_else(|| panic!("{from_layer} is not in ALLOWED: say what it may import"));
        if from_layer != to_layer && !may.contains(&to_layer) {
            forbidden.insert(format!("{from} imports {path}"));
        }
    }
    let forbidden: Vec<String> = forbidden.into_iter().collect();
    assert!(forbidden.is_empty(), "{}", forbidden.join("\n"));
}

/// The module at the top that `module` belongs to; `None` for the root, which holds constants.
fn layer(module: &str) -> Option<&str> {
    module.split("::").next().filter(|name| *name != "crate")
}

/// All modules of a circle, and the imports of one way round.
fn describe(imports: &Graph, circle: &BTreeSet<String>) -> String {
    let members: Vec<&str> = circle.iter().map(String::as_str).collect();
    let mut text = format!("{}\n", members.join(", "));
    for (from, to, path) in imports.way_round(circle) {
        text += &format!("    {from} -> {to} ({path})\n");
    }
    text
}
