//! Tests of all declarations.

mod codes;
mod schema;
