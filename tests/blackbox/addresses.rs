//! Listening: IPv4, IPv6, both through one socket, several addresses at once.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use mailrace_support::conversation::Conversation;
use mailrace_support::peer::not_run;
use mailrace_support::process::{Server, Setup};

use crate::{MAILRACE, directory, log_of};

fn ipv6_is_missing(part: &str) -> bool {
    let missing = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err();
    if missing {
        not_run(part, "this host has no IPv6 loopback address");
    }
    missing
}

fn listening(directory: &tempfile::TempDir, arguments: &[&str]) -> Server {
    let setup = Setup::bare(MAILRACE, &directory.path().join("data")).arguments(["--segment-size", "4MiB"]);
    let setup = match std::env::var("MAILRACE_TEST_DRIVER") {
        Ok(driver) => setup.arguments(["--driver", &driver]),
        Err(_) => setup,
    };
    setup.arguments(arguments).start()
}

fn send(address: SocketAddr) -> SocketAddr {
    let mut client = Conversation::hello(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    let reply = client.mail("a@example.org", "b@example.net", b"text\r\n").expect("a reply");
    reply.receipt().expect("stored");
    client.local_address()
}

fn peers(server: &Server) -> Vec<String> {
    let stored = log_of(server).cat();
    stored.iter().map(|stored| stored.fields["peer"].as_str().expect("a peer").to_owned()).collect()
}

#[test]
fn every_address_named_is_listened_on() {
    if ipv6_is_missing("several addresses") {
        return;
    }
    let directory = directory();
    let server =
        listening(&directory, &["--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--listen", "127.0.0.2:0"]);
    let addresses = server.addresses();
    assert_eq!(addresses.len(), 3);
    let senders: Vec<String> = addresses.iter().map(|&address| send(address).to_string()).collect();
    assert_eq!(peers(&server), senders);
}

#[test]
fn an_ipv6_wildcard_takes_ipv4_as_well() {
    if ipv6_is_missing("dual stack") {
        return;
    }
    let directory = directory();
    let server = listening(&directory, &["--listen", "[::]:0", "--accept-any"]);
    let port = server.address().port();
    let senders = [
        send((Ipv4Addr::LOCALHOST, port).into()).to_string(),
        send((Ipv6Addr::LOCALHOST, port).into()).to_string(),
    ];
    assert_eq!(peers(&server), senders, "an IPv4 client is shown with its IPv4 address");
}

#[test]
fn a_wildcard_is_allowed_where_recipients_are_named() {
    let directory = directory();
    let server = listening(&directory, &["--listen", "0.0.0.0:0", "--domain", "example.net"]);
    send((Ipv4Addr::LOCALHOST, server.address().port()).into());
}
