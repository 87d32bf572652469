//! The table itself, in parts.

use super::Known;

mod connecting;
mod hosted;
mod working;

/// Every message that is known; special ones stand before general ones.
pub fn messages() -> impl Iterator<Item = &'static Known> {
    hosted::HOSTED
        .iter()
        .chain(connecting::CONNECTING)
        .chain(working::WORKING)
}

/// The same with the hosted services' own messages last: what is true of a kind of fault
/// stands first.
pub(super) fn general_first() -> impl Iterator<Item = &'static Known> {
    connecting::CONNECTING
        .iter()
        .chain(working::WORKING)
        .chain(hosted::HOSTED)
}
