//! What a person sees who has just met the program: `mailrace` by itself, and `serve` on a terminal.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;

use crate::server::Server;

/// One screen: what it is, what to type first, where to read on.
const SCREEN: &str = r"mailrace takes mail in over SMTP and answers 250 only when it is on disk.

Try it:
  mailrace serve
      listens on 127.0.0.1:2525 and stores under ./mailrace-data
  printf 'Subject: hello\r\n\r\nThe first one.\r\n' |
    curl -sS --url smtp://127.0.0.1:2525/client.example --mail-from alice@example.org \
      --mail-rcpt bob@example.net --upload-file -
      sends a message from another terminal
  mailrace log cat --format summary
      shows what came in

And then:
  mailrace check               the settings in force, and where each comes from
  mailrace log get RECEIPT     one message, byte for byte (each 250 ends with its receipt)
  mailrace log verify          checks every octet that is stored
  mailrace completions bash    completes commands and options in your shell
  mailrace man serve           a manual page; read it with: mailrace man serve | man -l -

mailrace serve --help lists every option; mailrace --help every command.
";

pub(super) fn run() -> ExitCode {
    super::print(SCREEN.as_bytes())
}

/// Says in words what the ready event says, where a person may be reading.
pub(super) fn greet(server: &Server) {
    if std::io::stderr().is_terminal() {
        let config = server.config();
        let data_dir = config.data_dir.to_string_lossy();
        eprint!("{}", greeting(server.addresses(), &data_dir, config.recipients.takes_any()));
    }
}

fn greeting(addresses: &[SocketAddr], data_dir: &str, takes_any: bool) -> String {
    let listed: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let read = match data_dir {
        "./mailrace-data" => String::new(),
        other => format!(" --data-dir {}", shell_word(other)),
    };
    let recipient = if takes_any { "bob@example.net" } else { "RECIPIENT" };
    format!(
        "\nMail is taken on {}. Send a message from another terminal:\n\n  \
         printf 'Subject: hello\\r\\n\\r\\nThe first one.\\r\\n' |\n    \
         curl -sS --url smtp://{}/client.example --mail-from alice@example.org \\\n      \
         --mail-rcpt {recipient} --upload-file -\n\n\
         and read it with:  mailrace log cat --format summary{read}\n\
         Ctrl-C finishes what has begun, and ends. Lines that begin with \"mailrace:\" are events.\n\n",
        listed.join(" and "),
        reachable(addresses),
    )
}

/// An address to connect to from this machine.
fn reachable(addresses: &[SocketAddr]) -> String {
    let Some(address) = addresses.first() else { return String::new() };
    match address.ip() {
        ip if !ip.is_unspecified() => address.to_string(),
        ip if ip.is_ipv4() => format!("127.0.0.1:{}", address.port()),
        _ => format!("[::1]:{}", address.port()),
    }
}

/// A word that a shell takes as it is.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    match text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_screen_is_one_screen_and_names_commands_that_are_there() {
        assert!(SCREEN.lines().count() <= 24);
        assert!(SCREEN.lines().all(|line| line.len() <= 100));
        for line in SCREEN.lines().filter_map(|line| line.trim_start().strip_prefix("mailrace ")) {
            let words = line.split("  ").next().unwrap_or_default().split_whitespace();
            let words: Vec<&str> = words.take_while(|word| !word.ends_with(',')).collect();
            if words.first() == Some(&"takes") || words.contains(&"lists") {
                continue;
            }
            let receipt = |word: &&str| if *word == "RECEIPT" { "0@4096" } else { *word }.to_owned();
            let words = std::iter::once("mailrace".to_owned()).chain(words.iter().map(receipt));
            let parsed = super::super::command().try_get_matches_from(words);
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
    }

    #[test]
    fn the_greeting_can_be_pasted() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let text = greeting(&[address("0.0.0.0:25"), address("127.0.0.1:2525")], "it's here", true);
        assert!(text.contains("smtp://127.0.0.1:25/"), "{text}");
        assert!(text.contains(r"--data-dir 'it'\''s here'"), "{text}");
        assert!(!greeting(&[address("[::]:25")], "./mailrace-data", true).contains("--data-dir"));
        assert!(greeting(&[address("[::]:25")], "x", false).contains("--mail-rcpt RECIPIENT"));
    }
}
