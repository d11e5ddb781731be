//! SIGHUP: new recipients and limits for a running server, without losing a session or a message.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mailrace_support::conversation::Conversation;
use mailrace_support::event::EventLine;
use mailrace_support::load::{self, Ledger, audit};
use mailrace_support::peer::report;
use mailrace_support::process::Server;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{directory, log, setup};

/// A server that goes by a list of recipients, and that list.
struct Listed {
    server: Server,
    list: PathBuf,
    _directory: TempDir,
}

impl Listed {
    fn start(list: &str) -> Self {
        let directory = directory();
        let path = directory.path().join("recipients");
        fs::write(&path, list).expect("written");
        let arguments = ["--recipients", path.to_str().expect("text")];
        Self { server: setup(&directory).arguments(arguments).start(), list: path, _directory: directory }
    }

    /// Replaces the list in one step, as a careful editor does, and tells the server; `number` of the event to
    /// come with this `name`.
    fn reload(&self, list: &str, name: &str, number: usize) -> EventLine {
        let new = self.list.with_extension("new");
        fs::write(&new, list).expect("written");
        fs::rename(&new, &self.list).expect("renamed");
        self.server.signal(Signal::HUP);
        self.server.events(name, number)
    }

    fn hello(&self) -> Conversation {
        Conversation::hello(self.server.address()).expect("a connection")
    }
}

fn code(client: &mut Conversation, command: &str) -> u16 {
    client.command(command).expect("a reply").code
}

const RCPT_ANN: &str = "RCPT TO:<ann@example.org>";
const RCPT_BOB: &str = "RCPT TO:<bob@example.org>";
const MAIL: &str = "MAIL FROM:<a@example.net>";

#[test]
fn a_session_that_is_open_sees_new_recipients_in_its_next_transaction() {
    let listed = Listed::start("ann@example.org\n");
    let (mut idle, mut busy) = (listed.hello(), listed.hello());
    assert_eq!((code(&mut busy, MAIL), code(&mut busy, RCPT_ANN)), (250, 250));
    let event = listed.reload("bob@example.org # instead of Ann\n@example.com\n", "reloaded", 1);
    for (key, value) in
        [("mailboxes", "1"), ("domains", "1"), ("needs_restart", "none"), ("late_shards", "0")]
    {
        assert_eq!(event.value(key), Some(value), "{event}");
    }
    assert_eq!(
        (code(&mut idle, MAIL), code(&mut idle, RCPT_ANN), code(&mut idle, RCPT_BOB)),
        (250, 550, 250)
    );
    assert_eq!(code(&mut idle, "RCPT TO:<x@example.com>"), 250);
    assert_eq!((code(&mut busy, RCPT_BOB), code(&mut busy, RCPT_ANN)), (550, 250), "as it began");
    assert_eq!((code(&mut busy, "RSET"), code(&mut busy, MAIL)), (250, 250));
    assert_eq!((code(&mut busy, RCPT_BOB), code(&mut busy, RCPT_ANN)), (250, 550), "as it is now");
    drop((idle, busy));
    assert!(listed.server.terminate().0.success());
}

#[test]
fn a_list_that_cannot_be_used_changes_nothing_and_says_where_it_is_wrong() {
    let listed = Listed::start("ann@example.org\n");
    let mut client = listed.hello();
    let event = listed.reload("bob@example.org\nno address\n", "reload-failed", 1);
    let error = event.value("error").expect("a reason");
    assert!(error.starts_with(&format!("{}:2: 'no address'", listed.list.display())), "{error}");
    fs::remove_file(&listed.list).expect("removed");
    listed.server.signal(Signal::HUP);
    let event = listed.server.events("reload-failed", 2);
    assert!(
        event.value("error").is_some_and(|error| error.contains(&listed.list.display().to_string())),
        "{event}"
    );
    assert_eq!(
        (code(&mut client, MAIL), code(&mut client, RCPT_ANN), code(&mut client, RCPT_BOB)),
        (250, 250, 550)
    );
    let _ = listed.reload("bob@example.org\n", "reloaded", 1);
    assert_eq!(
        (code(&mut client, "RSET"), code(&mut client, MAIL), code(&mut client, RCPT_BOB)),
        (250, 250, 250)
    );
    drop(client);
    assert!(listed.server.terminate().0.success());
}

#[test]
fn a_reload_under_full_load_loses_no_message_and_no_session() {
    const CONNECTIONS: u64 = 8;
    const RELOADS: usize = 30;
    /// Answers between two reloads, so that each meets the load in another state.
    const ANSWERS: usize = 20;
    let listed = Listed::start("@example.net\n");
    let ledger = Arc::new(Ledger::default());
    let clients = load::start(listed.server.address(), CONNECTIONS, 0, &ledger);
    for number in 1..=RELOADS {
        ledger.wait_for(ledger.len() + ANSWERS);
        // Enough mailboxes for the reading to take a while; every second list is bad in its last line.
        let mut list: String = (0..5000).map(|user| format!("user-{user}@example.org\n")).collect();
        let name = match number % 2 {
            0 => {
                list.push_str("not an address\n");
                "reload-failed"
            }
            _ => {
                list.push_str("@example.net\n");
                "reloaded"
            }
        };
        let _ = listed.reload(&list, name, number.div_ceil(2));
    }
    ledger.wait_for(ledger.len() + ANSWERS);
    assert!(clients.iter().all(|client| !client.is_finished()), "a session was dropped");
    let data_dir = listed.server.data_dir().to_owned();
    let (status, printed) = listed.server.terminate();
    assert_eq!(status.code(), Some(0), "{printed}");
    let begun: u64 = clients.into_iter().map(|client| client.join().expect("a client does not panic")).sum();
    assert_kept(&data_dir, &ledger, &printed);
    let words =
        format!("{RELOADS} reloads under load: {} of {begun} messages answered, all kept", ledger.len());
    report("note", "reload", "kept", &words);
}

fn assert_kept(data_dir: &Path, ledger: &Ledger, printed: &str) {
    let audit = audit(log(data_dir), &ledger.promised());
    assert!(audit.is_clean(), "{audit:?}\n{printed}");
    log(data_dir).assert_intact();
}
