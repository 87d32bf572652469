//! Tests of all declarations.

mod codes;
mod requests;
mod schema;
mod support;
