//! Migrations are embedded by a macro, which does not see a file that was added.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
