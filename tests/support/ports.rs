//! TCP ports for servers of tests.

use std::hash::BuildHasher as _;
use std::net::TcpListener;

/// A port that nothing listens on. It is below those that the kernel gives to connections, so that
/// no connection of another test takes it before it is used, or while its server restarts.
///
/// # Panics
/// Where there is none.
pub fn free_port() -> u16 {
    // Hashes of each state differ: a random number, without a dependency.
    let random = std::hash::RandomState::new().hash_one(0) % 20_000;
    let first = u16::try_from(random).expect("below 20,000");
    (0..20_000)
        .map(|number| 10_000 + (first + number) % 20_000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}
