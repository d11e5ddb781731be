//! Real mail, with all its oddities: the messages that CPython's tests of its email package are made of.

use std::fs;
use std::path::PathBuf;

use mailrace_support::conversation::{Conversation, with_crlf};
use mailrace_support::peer::{Peer, report};
use mailrace_support::program::run;

use crate::{PROJECT, directory, log_of, setup};

/// Every `msg_*.txt`, lines ended by CR LF as mail has them, in the order of their names.
fn messages() -> Option<Vec<(PathBuf, Vec<u8>)>> {
    let folder = Peer::find(PROJECT, "messages")?.path;
    let files =
        fs::read_dir(folder).expect("the folder of the messages").map(|entry| entry.expect("a file").path());
    let mut messages = files
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("msg_") && name.ends_with(".txt")
        })
        .map(|path| (path.clone(), with_crlf(&fs::read(&path).expect("a readable message"))))
        .collect::<Vec<_>>();
    messages.sort();
    assert!(messages.len() >= 40, "only {} messages", messages.len());
    report("note", "messages", "sent", &format!("{} real messages", messages.len()));
    Some(messages)
}

#[test]
fn real_mail_is_read_back_octet_for_octet() {
    let Some(messages) = messages() else { return };
    let directory = directory();
    let server = setup(&directory).start();
    let mut client = Conversation::hello(server.address()).expect("a connection");
    let log = log_of(&server);
    let mut receipts = Vec::new();
    for (path, text) in &messages {
        let reply = client.mail("sender@example.org", "reader@example.net", text).expect("a reply");
        receipts.push(reply.receipt().unwrap_or_else(|| panic!("{}: {reply:?}", path.display())));
    }
    let stored = log.cat();
    assert_eq!(stored.iter().map(|stored| stored.receipt()).collect::<Vec<_>>(), receipts);
    for ((path, text), stored) in messages.iter().zip(&stored) {
        assert!(stored.message == *text, "{} was altered", path.display());
        assert!(log.get(&stored.receipt()) == *text, "{} was altered by get", path.display());
    }
}

#[test]
fn real_mail_that_smtplib_sends_is_read_back_octet_for_octet() {
    let (Some(messages), Some(python)) = (messages(), Peer::find(PROJECT, "smtplib")) else { return };
    let directory = directory();
    let server = setup(&directory).start();
    let mut arguments = vec![PathBuf::from(PROJECT).join("tests/blackbox/clients/smtplib_send.py")];
    let port = server.address().port().to_string();
    arguments.extend(["127.0.0.1", &port, "sender@example.org", "reader@example.net"].map(PathBuf::from));
    for (path, text) in &messages {
        let file = directory.path().join(path.file_name().expect("a name"));
        fs::write(&file, text).expect("a file for the client");
        arguments.push(file);
    }
    run(python.path, &arguments).expect_success();
    let stored = log_of(&server).cat();
    assert_eq!(stored.len(), messages.len());
    for ((path, text), stored) in messages.iter().zip(&stored) {
        assert!(stored.message == *text, "{} was altered", path.display());
    }
}
