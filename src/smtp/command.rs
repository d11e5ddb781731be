//! A command line taken apart: the verb, and what stands behind it (RFC 5321 section 4.1.1).
//!
//! Nothing is copied; a [`Command`] lives as long as the line. Whether a command may come now is for the session
//! to say, and the arguments of MAIL and RCPT are looked at only when it may.

/// One command and its argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// HELO and the client's name.
    Helo(&'a [u8]),
    /// EHLO and the client's name.
    Ehlo(&'a [u8]),
    /// MAIL and what follows it, `FROM:` included.
    Mail(&'a [u8]),
    /// RCPT and what follows it, `TO:` included.
    Rcpt(&'a [u8]),
    /// DATA.
    Data,
    /// RSET.
    Rset,
    /// NOOP; RFC 5321 section 4.1.1.9 lets it carry a string that means nothing.
    Noop,
    /// QUIT.
    Quit,
    /// VRFY and whom.
    Vrfy(&'a [u8]),
    /// EXPN.
    Expn,
    /// HELP, about whatever.
    Help,
    /// A command we know and do not offer.
    NotOffered,
    /// A command that takes no argument, with one.
    UnwantedArgument,
    /// `MAILFROM:` or the like: MAIL without the space behind it.
    RunTogetherMail,
    /// `RCPTTO:` or the like.
    RunTogetherRcpt,
    /// An HTTP request line.
    Http,
    /// Nothing we know.
    Unrecognized,
}

impl<'a> Command<'a> {
    /// Takes `line`, given without its CR LF, apart.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Self {
        // RFC 5321 section 4.1.1: white space before the line end should be tolerated.
        let line = trim_end(line);
        let verb_len = memchr::memchr(b' ', line).unwrap_or(line.len());
        let (verb, rest) = line.split_at(verb_len);
        let argument = trim_start(rest);
        let Some(verb) = upper_case(verb) else { return Self::long_verb(verb, line) };
        match &verb {
            b"MAIL" => Self::Mail(argument),
            b"RCPT" => Self::Rcpt(argument),
            b"EHLO" => Self::Ehlo(argument),
            b"HELO" => Self::Helo(argument),
            b"VRFY" => Self::Vrfy(argument),
            b"NOOP" => Self::Noop,
            b"EXPN" => Self::Expn,
            b"HELP" => Self::Help,
            b"DATA" => Self::Data.without(argument),
            b"RSET" => Self::Rset.without(argument),
            b"QUIT" => Self::Quit.without(argument),
            b"AUTH" | b"BDAT" | b"ETRN" | b"LHLO" | b"SAML" | b"SEND" | b"SOML" | b"TURN" => Self::NotOffered,
            _ => Self::long_verb(&line[..verb_len], line),
        }
    }

    fn without(self, argument: &[u8]) -> Self {
        if argument.is_empty() { self } else { Self::UnwantedArgument }
    }

    /// The rare rest: what has no verb of four letters, or one that is not ours.
    fn long_verb(verb: &[u8], line: &[u8]) -> Self {
        if verb.eq_ignore_ascii_case(b"STARTTLS") {
            return Self::NotOffered;
        }
        if starts_with(verb, b"MAILFROM") {
            return Self::RunTogetherMail;
        }
        if starts_with(verb, b"RCPTTO") {
            return Self::RunTogetherRcpt;
        }
        if is_http_request(line) { Self::Http } else { Self::Unrecognized }
    }
}

/// A verb of four octets with its letters in upper case; `None` for any other length.
fn upper_case(verb: &[u8]) -> Option<[u8; 4]> {
    let mut verb: [u8; 4] = verb.try_into().ok()?;
    verb.make_ascii_uppercase();
    Some(verb)
}

/// What follows `FROM:` in the argument of MAIL.
#[must_use]
pub fn behind_from(argument: &[u8]) -> Option<&[u8]> {
    starts_with(argument, b"FROM:").then(|| &argument[b"FROM:".len()..])
}

/// What follows `TO:` in the argument of RCPT.
#[must_use]
pub fn behind_to(argument: &[u8]) -> Option<&[u8]> {
    starts_with(argument, b"TO:").then(|| &argument[b"TO:".len()..])
}

/// True for the first octets of a TLS record that holds a ClientHello (RFC 8446 section 5.1).
#[must_use]
pub fn is_tls_hello(input: &[u8]) -> bool {
    input.starts_with(b"\x16\x03")
}

/// True for a request line of HTTP (RFC 9112 section 3), which a browser or a forged form may send here. It may be
/// the beginning of one.
#[must_use]
pub fn is_http_request(line: &[u8]) -> bool {
    const METHODS: [&[u8]; 10] = [
        b"GET ",
        b"POST ",
        b"PUT ",
        b"HEAD ",
        b"OPTIONS ",
        b"CONNECT ",
        b"DELETE ",
        b"PATCH ",
        b"TRACE ",
        b"PRI ",
    ];
    let Some(target) = METHODS.iter().find_map(|method| line.strip_prefix(*method)) else { return false };
    matches!(target, [b'/' | b'*', ..])
        || starts_with(target, b"http")
        || memchr::memmem::find(target, b" HTTP/").is_some()
}

/// An argument of HELO or EHLO we take: one word of printable ASCII. RFC 5321 section 4.1.1.1 wants a domain or an
/// address literal, and section 4.1.4 forbids refusing mail because it does not prove to be one.
#[must_use]
pub fn is_client_name(argument: &[u8]) -> bool {
    (1..=255).contains(&argument.len()) && argument.iter().all(u8::is_ascii_graphic)
}

fn starts_with(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = text {
        text = rest;
    }
    text
}

fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_read_in_any_case_with_blanks_behind() {
        for (line, command) in [
            (&b"HELO c.example"[..], Command::Helo(b"c.example")),
            (b"ehlo c.example", Command::Ehlo(b"c.example")),
            (b"EHLO", Command::Ehlo(b"")),
            (b"MAIL FROM:<a@b> SIZE=1 ", Command::Mail(b"FROM:<a@b> SIZE=1")),
            (b"mAiL  from: a@b", Command::Mail(b"from: a@b")),
            (b"Rcpt To:<a@b>", Command::Rcpt(b"To:<a@b>")),
            (b"DATA", Command::Data),
            (b"data \t ", Command::Data),
            (b"DATA x", Command::UnwantedArgument),
            (b"RSET", Command::Rset),
            (b"RSET 1", Command::UnwantedArgument),
            (b"QUIT", Command::Quit),
            (b"QUIT now", Command::UnwantedArgument),
            (b"NOOP", Command::Noop),
            (b"NOOP whatever it is", Command::Noop),
            (b"VRFY ann", Command::Vrfy(b"ann")),
            (b"EXPN staff", Command::Expn),
            (b"HELP", Command::Help),
            (b"help mail", Command::Help),
            (b"STARTTLS", Command::NotOffered),
            (b"AUTH PLAIN AAAA", Command::NotOffered),
            (b"BDAT 10 LAST", Command::NotOffered),
            (b"TURN", Command::NotOffered),
        ] {
            assert_eq!(Command::parse(line), command, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn what_is_run_together_or_unknown_is_told_apart() {
        for (line, command) in [
            (&b"MAILFROM:<a@b>"[..], Command::RunTogetherMail),
            (b"mailfrom: <a@b>", Command::RunTogetherMail),
            (b"RCPTTO:<a@b>", Command::RunTogetherRcpt),
            (b"MAILX", Command::Unrecognized),
            (b"MAI", Command::Unrecognized),
            (b"", Command::Unrecognized),
            (b"   ", Command::Unrecognized),
            (b" NOOP", Command::Unrecognized),
            (b"NOOP\tx", Command::Unrecognized),
            (b"N\0OP", Command::Unrecognized),
            (b"GET", Command::Unrecognized),
            (b"GET me some", Command::Unrecognized),
            (b"GET / HTTP/1.1", Command::Http),
            (b"POST http://mx.example:25/ HTTP/1.1", Command::Http),
            (b"CONNECT mx.example:25 HTTP/1.1", Command::Http),
            (b"PRI * HTTP/2.0", Command::Http),
        ] {
            assert_eq!(Command::parse(line), command, "{}", line.escape_ascii());
        }
    }
}
