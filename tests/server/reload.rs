//! New settings for a server that runs: what sessions see of them, and what they cannot change.

use std::net::SocketAddr;
use std::path::PathBuf;

use mailrace::config::{Config, ConfigError};
use mailrace::policy::Recipients;
use mailrace::server::Reload;
use mailrace_support::client::Client;

use crate::in_process::TestServer;

fn apply(reload: &mut Reload, change: impl FnOnce(&mut Config)) -> Result<String, ConfigError> {
    let mut wanted = reload.running().clone();
    change(&mut wanted);
    reload.apply(&wanted).map(|event| event.to_string())
}

#[test]
fn new_limits_hold_from_the_next_mail_on_and_are_announced() {
    let server = TestServer::start(|_| {});
    let mut reload = server.server.reload_handle();
    let mut client = Client::ready(server.address());
    client.begin_message();
    let event = apply(&mut reload, |config| {
        config.limits.message_size_max = 10;
        config.limits.recipients_max = 1;
        config.limits.bad_commands_max = 2;
        config.limits.command_line_max = 512;
        config.hostname = "new.example".to_owned();
    });
    let event = event.expect("good settings");
    for field in ["max_message_size=10", "max_recipients=1", "max_bad_commands=2", "max_command_line=512"] {
        assert!(event.split(' ').any(|word| word == field), "{field}: {event}");
    }
    client.send(b"more than ten octets\r\n.\r\n");
    client.expect("250 2.0.0 stored");
    client.say("MAIL FROM:<a@example.org> SIZE=11", "552 5.3.4");
    client.say("MAIL FROM:<a@example.org>", "250");
    client.say("RCPT TO:<a@example.org>", "250");
    client.say("RCPT TO:<b@example.org>", "452 4.5.3");
    client.say(&format!("NOOP {}", "x".repeat(600)), "500 5.5.2");
    client.say("FROB", "500");
    client.say("FROB", "421 4.7.0");
    let mut new = Client::connect(server.address());
    new.expect("220 new.example");
    let reply = new.say("EHLO client.example", "250");
    assert!(reply.contains("SIZE 10"), "{reply}");
    assert_eq!(server.stop().exit_code, 0);
}

#[test]
fn what_needs_a_restart_is_named_and_stays() {
    let server = TestServer::start(|_| {});
    let mut reload = server.server.reload_handle();
    let event = apply(&mut reload, |config| {
        config.listen.push(SocketAddr::from(([127, 0, 0, 1], 1)));
        config.cores.push(4095);
        config.data_dir = PathBuf::from("elsewhere");
        config.connections.idle_timeout *= 2;
        config.recipients = Recipients::listed(["example.org"], None).expect("a domain");
    });
    let event = event.expect("good settings");
    let named = "needs_restart=--listen,--data-dir,--cores,--idle-timeout";
    assert!(event.split(' ').any(|word| word == named), "{event}");
    assert_eq!(reload.running().listen, [SocketAddr::from(([127, 0, 0, 1], 0))]);
    let mut client = Client::ready(server.address());
    client.say("MAIL FROM:<a@example.org>", "250");
    client.say("RCPT TO:<a@example.net>", "550 5.7.1");
    drop(client);
    assert_eq!(server.stop().exit_code, 0);
}

#[test]
fn settings_that_do_not_fit_the_running_server_change_nothing() {
    let server = TestServer::start(|config| config.queue.octets_max = config.limits.message_size_max);
    let mut reload = server.server.reload_handle();
    let error = apply(&mut reload, |config| {
        // By themselves they agree; but the queue cannot grow while it runs.
        config.limits.message_size_max += 1;
        config.queue.octets_max += 1;
        config.recipients = Recipients::listed(["example.org"], None).expect("a domain");
    });
    let error = error.expect_err("the queue is too small").to_string();
    assert!(error.contains("--queue-bytes") && error.contains("restart"), "{error}");
    let reply = Client::ready(server.address()).send_message("to anybody");
    assert!(reply.starts_with("250 2.0.0 stored"), "{reply}");
    assert_eq!(server.stop().exit_code, 0);
}

#[test]
fn a_reload_opens_no_sink_on_an_address_that_stays() {
    let server = TestServer::start(|config| {
        config.listen = vec![SocketAddr::from(([0, 0, 0, 0], 0))];
        config.recipients = Recipients::listed(["example.org"], None).expect("a domain");
    });
    let mut reload = server.server.reload_handle();
    let open_to_all = |config: &mut Config| {
        config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 25))];
        config.recipients = Recipients::any();
    };
    let error = apply(&mut reload, open_to_all).expect_err("anybody could send to anybody");
    assert!(error.to_string().contains("--accept-any"), "{error}");
    let asked = |config: &mut Config| {
        open_to_all(config);
        config.accept_any = true;
    };
    apply(&mut reload, asked).expect("it was asked for");
    assert_eq!(server.stop().exit_code, 0);
}

#[test]
fn a_server_that_has_ended_does_not_hold_a_reload_up() {
    let server = TestServer::start(|_| {});
    let mut reload = server.server.reload_handle();
    assert_eq!(server.stop().exit_code, 0);
    let event = apply(&mut reload, |config| config.limits.recipients_max = 7).expect("good settings");
    assert!(event.contains("late_shards=0"), "{event}");
}
