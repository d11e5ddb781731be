//! Real mail clients: what each sends is what is read back, octet for octet.

use std::fs;
use std::path::{Path, PathBuf};

use mailrace_support::peer::Peer;
use mailrace_support::process::Server;
use mailrace_support::program::run;
use tempfile::TempDir;

use crate::{PROJECT, directory, log_of, setup};

const FROM: &str = "sender@example.org";
const TO: &str = "reader@example.net";

/// Text with all that a client or server may stumble over, lines ended by CR LF.
const TEXT: &[u8] = b"From: sender@example.org\r\n\
    To: reader@example.net\r\n\
    Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n\
    Message-ID: <awkward@client.example>\r\n\
    Subject: what is easily lost\r\n\
    \r\n\
    .\r\n\
    ..\r\n\
    .a dot at the start\r\n\
    a dot at the end.\r\n\
    \tblanks at the end  \r\n\
    From here on quoted in an mbox\r\n\
    >From here too\r\n\
    gr\xc3\xbc\xc3\x9fe\r\n\
    \r\n\
    \r\n";

/// A running server and the file a client is given.
struct Stage {
    directory: TempDir,
    server: Server,
}

impl Stage {
    fn new() -> Self {
        let directory = directory();
        let server = setup(&directory).start();
        Self { directory, server }
    }

    fn file(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).expect("a file for the client");
        path
    }

    fn port(&self) -> String {
        self.server.address().port().to_string()
    }

    /// Asserts that the log holds these messages, from and to whom they were sent, in this order.
    fn assert_stored(&self, texts: &[&[u8]]) {
        let log = log_of(&self.server);
        let stored = log.cat();
        assert_eq!(stored.len(), texts.len());
        for (stored, text) in stored.iter().zip(texts) {
            assert_same(&stored.message, text);
            assert_same(&log.get(&stored.receipt()), text);
            assert_eq!(stored.reverse_path(), FROM);
            assert_eq!(stored.forward_paths(), [TO]);
            assert_eq!(stored.fields["size"], text.len());
            assert_eq!(stored.fields["helo"], "client.example");
        }
    }
}

fn assert_same(stored: &[u8], sent: &[u8]) {
    let shown = |octets: &[u8]| octets.escape_ascii().to_string().replace("\\r\\n", "\n");
    assert!(stored == sent, "sent:\n{}\nstored:\n{}", shown(sent), shown(stored));
}

fn receipts(printed: &[u8]) -> usize {
    String::from_utf8_lossy(printed).lines().filter(|line| line.contains("250 2.0.0 stored 0@")).count()
}

fn script(name: &str) -> PathBuf {
    Path::new(PROJECT).join("tests/blackbox/clients").join(name)
}

#[test]
fn what_smtplib_sends_is_what_is_read_back() {
    let Some(python) = Peer::find(PROJECT, "smtplib") else { return };
    let stage = Stage::new();
    let large = [TEXT, &b"0123456789abcdef\r\n".repeat(60_000)].concat();
    let files = [stage.file("text", TEXT), stage.file("large", &large)];
    let arguments =
        [script("smtplib_send.py"), "127.0.0.1".into(), stage.port().into(), FROM.into(), TO.into()];
    let printed = run(python.path, arguments.iter().chain(&files)).expect_success();
    assert_eq!(receipts(&printed), 2);
    stage.assert_stored(&[TEXT, &large]);
}

#[test]
fn what_swaks_sends_is_what_is_read_back() {
    let Some(swaks) = Peer::find(PROJECT, "swaks") else { return };
    let stage = Stage::new();
    // Told to leave the text alone, swaks sends the file as it is: dots doubled and the end by us.
    let wire = stage.file("wire", &mailrace_support::conversation::on_the_wire(TEXT));
    let data = format!("@{}", wire.display());
    let port = stage.port();
    for pipeline in [&[][..], &["--pipeline"]] {
        let mut arguments = vec!["--server", "127.0.0.1", "--port", &port, "--helo", "client.example"];
        arguments.extend(["--from", FROM, "--to", TO, "--no-data-fixup", "--data", &data]);
        arguments.extend(pipeline);
        let printed = run(&swaks.path, arguments).expect_success();
        assert_eq!(receipts(&printed), 1);
    }
    stage.assert_stored(&[TEXT, TEXT]);
}

#[test]
fn what_msmtp_sends_is_what_is_read_back() {
    let Some(msmtp) = Peer::find(PROJECT, "msmtp") else { return };
    let stage = Stage::new();
    let mut command = std::process::Command::new(msmtp.path);
    command.args([
        "--file=/dev/null",
        "--auth=off",
        "--tls=off",
        "--host=127.0.0.1",
        "--domain=client.example",
    ]);
    command.args([&format!("--port={}", stage.port()), &format!("--from={FROM}"), "--", TO]);
    // msmtp takes lines ended by LF and ends them with CR LF itself.
    let lines = TEXT.iter().copied().filter(|&octet| octet != b'\r').collect::<Vec<_>>();
    let finished = mailrace_support::program::finish(command, &lines);
    finished.expect_success();
    stage.assert_stored(&[TEXT]);
}

#[test]
fn what_curl_sends_is_what_is_read_back() {
    let Some(curl) = Peer::find(PROJECT, "curl") else { return };
    let stage = Stage::new();
    let url = format!("smtp://127.0.0.1:{}/client.example", stage.port());
    let text = stage.file("text", TEXT);
    let text = text.to_str().expect("a plain name");
    let arguments = [
        "-sS",
        "--url",
        &url,
        "--mail-from",
        FROM,
        "--mail-rcpt",
        TO,
        "--upload-file",
        text,
        "--max-time",
        "50",
    ];
    run(curl.path, arguments).expect_success();
    stage.assert_stored(&[TEXT]);
}

#[test]
fn what_nodemailer_sends_is_what_is_read_back() {
    let Some(nodemailer) = Peer::find(PROJECT, "nodemailer") else { return };
    let stage = Stage::new();
    let composed = stage.directory.path().join("composed");
    let text = stage.file("text", TEXT);
    let arguments = [script("nodemailer_send.js"), nodemailer.path, "127.0.0.1".into(), stage.port().into()];
    let more = [FROM.into(), TO.into(), composed.clone(), text];
    let printed = run("node", arguments.iter().chain(&more)).expect_success();
    assert_eq!(receipts(&printed), 2);
    stage.assert_stored(&[&fs::read(composed).expect("nodemailer wrote it"), TEXT]);
}

#[test]
fn every_message_of_smtp_source_is_read_back_whole() {
    let Some(smtp_source) = Peer::find(PROJECT, "smtp-source") else { return };
    let stage = Stage::new();
    let address = format!("127.0.0.1:{}", stage.port());
    // A new connection for each message, then connections used again; sizes that need one and many reads.
    for (reuse, length) in [("-c", "4096"), ("-d", "4096"), ("-d", "300000")] {
        let arguments = ["-s", "10", "-m", "100", "-l", length, "-f", FROM, "-t", TO, "-M", "client.example"];
        let arguments = arguments.iter().chain(if reuse == "-d" { &["-d"][..] } else { &[] });
        run(&smtp_source.path, arguments.chain([&address.as_str()])).expect_success();
    }
    let stored = log_of(&stage.server).cat();
    assert_eq!(stored.len(), 300);
    for (at, stored) in stored.iter().enumerate() {
        assert_eq!((stored.reverse_path(), stored.forward_paths()), (FROM, vec![TO]));
        let (headers, body) = smtp_source_parts(&stored.message);
        assert!(
            headers.starts_with("From: <sender@example.org>\r\nTo: <reader@example.net>\r\nDate: "),
            "{headers}"
        );
        let length = if at < 200 { 4096 } else { 300_000 };
        // It ends the text that was asked for with a CR LF of its own.
        assert_eq!(body.len(), length + 2, "message {at}");
        assert!(body.split_inclusive(|&octet| octet == b'\n').all(is_smtp_source_line), "message {at}");
    }
}

fn smtp_source_parts(message: &[u8]) -> (String, &[u8]) {
    let end = message.windows(4).position(|octets| octets == b"\r\n\r\n").expect("a blank line") + 4;
    (String::from_utf8_lossy(&message[..end]).into_owned(), &message[end..])
}

/// smtp-source fills its messages with lines of the letter X, some of them begun with a digit.
fn is_smtp_source_line(line: &[u8]) -> bool {
    line.strip_suffix(b"\r\n")
        .is_some_and(|line| line.iter().all(|&octet| octet == b'X' || octet.is_ascii_digit()))
}
