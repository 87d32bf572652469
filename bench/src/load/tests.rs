//! Loads on servers that answer late, in parts, or not at all.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;

struct Same;

impl Requests for Same {
    fn next(&self, into: &mut Vec<u8>) -> Option<u16> {
        into.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
        Some(200)
    }
}

/// A server whose connections are served by `serve`.
fn server(serve: fn(TcpStream) -> io::Result<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    address
}

fn read_request(stream: &mut TcpStream) -> io::Result<()> {
    stream.read_exact(&mut [0; b"GET / HTTP/1.1\r\n\r\n".len()])
}

fn load(serve: fn(TcpStream) -> io::Result<()>, pace: Pace, millis: u64) -> Outcome {
    let load = Load {
        address: server(serve),
        clients: 3,
        pace,
        duration: Duration::from_millis(millis),
    };
    load.run(&Same).unwrap()
}

#[test]
fn every_client_has_one_request_at_a_time() {
    let outcome = load(
        |mut stream| {
            loop {
                read_request(&mut stream)?;
                // The answer arrives in parts.
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-")?;
                thread::sleep(Duration::from_millis(10));
                stream.write_all(b"Length: 200000\r\n\r\n")?;
                stream.write_all(&vec![b'x'; 200_000])?;
            }
        },
        Pace::Closed,
        200,
    );
    assert!((3..=60).contains(&outcome.answered), "{}", outcome.answered);
    assert_eq!(outcome.failed, 0);
    assert!(outcome.percentile(0.0) >= 10_000.0);
}

#[test]
fn a_late_answer_delays_the_requests_behind_it() {
    let outcome = load(
        |mut stream| {
            let mut pause = 400;
            loop {
                read_request(&mut stream)?;
                thread::sleep(Duration::from_millis(pause));
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
                pause = 0;
            }
        },
        Pace::Open(300.0),
        600,
    );
    // All of them are sent, and two thirds wait for the first answer of their client.
    assert_eq!((outcome.answered, outcome.failed), (180, 0));
    assert!(outcome.percentile(50.0) >= 50_000.0);
}

#[test]
fn requests_without_an_answer_and_with_a_wrong_one_have_failed() {
    let outcome = load(
        |mut stream| {
            read_request(&mut stream)?;
            stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")?;
            read_request(&mut stream)
        },
        Pace::Open(60.0),
        100,
    );
    // Two for each client.
    assert_eq!((outcome.answered, outcome.failed), (3, 6));
}
