//! Tables of good and bad paths, and a property against a naive twin of the grammar.

use mailrace_support::naive;
use proptest::prelude::*;

use super::*;

fn reverse(argument: &str) -> Result<String, &'static str> {
    match ReversePath::parse(argument.as_bytes()) {
        Ok((path, rest)) => {
            Ok(format!("{}|{}", String::from_utf8_lossy(path.text()), String::from_utf8_lossy(rest)))
        }
        Err(error) => Err(error.reason),
    }
}

fn forward(argument: &str) -> Result<String, &'static str> {
    match ForwardPath::parse(argument.as_bytes()) {
        Ok((path, rest)) => {
            Ok(format!("{}|{}", String::from_utf8_lossy(path.text()), String::from_utf8_lossy(rest)))
        }
        Err(error) => Err(error.reason),
    }
}

#[test]
fn good_paths_are_taken_as_they_were_sent() {
    for (argument, path) in [
        ("<a@example.org>", "a@example.org|"),
        ("<A@Example.ORG>", "A@Example.ORG|"),
        ("<a@example.org> SIZE=1", "a@example.org| SIZE=1"),
        ("   <a@example.org>", "a@example.org|"),
        ("<a.b+c!#$%&'*/=?^_`{|}~-@x>", "a.b+c!#$%&'*/=?^_`{|}~-@x|"),
        ("<\"a b\"@example.org>", "\"a b\"@example.org|"),
        ("<\"a@b>c\\\"\\\\\"@example.org>", "\"a@b>c\\\"\\\\\"@example.org|"),
        ("<\"\"@example.org>", "\"\"@example.org|"),
        ("<a@[192.0.2.1]>", "a@[192.0.2.1]|"),
        ("<a@[001.002.003.004]>", "a@[001.002.003.004]|"),
        ("<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]|"),
        ("<a@[ipv6:::ffff:192.0.2.1]>", "a@[ipv6:::ffff:192.0.2.1]|"),
        ("<a@[X-25:anything.goes]>", "a@[X-25:anything.goes]|"),
        // By the grammar a literal with the tag `2001`.
        ("<a@[2001:db8::1]>", "a@[2001:db8::1]|"),
        ("<@r.example:a@example.org>", "a@example.org|"),
        ("<@r.example,@[192.0.2.1],@s.example:a@example.org>", "a@example.org|"),
        ("<пётр@почта.example>", "пётр@почта.example|"),
        ("<\"п ё\"@почта.example>", "\"п ё\"@почта.example|"),
    ] {
        assert_eq!(reverse(argument).as_deref(), Ok(path), "{argument}");
        assert_eq!(forward(argument).as_deref(), Ok(path), "{argument}");
    }
}

#[test]
fn the_classic_form_without_angle_brackets_is_taken() {
    assert_eq!(reverse(" sender@example.org").as_deref(), Ok("sender@example.org|"));
    assert_eq!(reverse("sender@example.org").as_deref(), Ok("sender@example.org|"));
    assert_eq!(forward(" \"a b\"@example.org SIZE=1").as_deref(), Ok("\"a b\"@example.org| SIZE=1"));
    assert_eq!(forward(" postmaster").as_deref(), Ok("postmaster|"));
}

#[test]
fn broken_forms_are_refused() {
    for argument in [
        "",
        " ",
        "<",
        ">",
        "<a@b",
        "a@b>",
        "<<a@b>>",
        "<a@b>>",
        "< a@b>",
        "<a@b >",
        "<a @b>",
        "<a@ b>",
        "<a b@c>",
        "<a\t@b>",
        "<a\0@b>",
        "<a\r@b>",
        "<a@b\x7f>",
        "<\"a\tb\"@c>",
        "<\"a\\\x01\"@c>",
        "<\"a\\",
        "<\"a\"b@c>",
        "<\"a@c>",
        "<a@b>SIZE=1",
        "a@b>SIZE=1",
        "<a>",
        "<a@>",
        "<@b>",
        "<a@b@c>",
        "<.a@b>",
        "<a.@b>",
        "<a..b@c>",
        "<a@.b>",
        "<a@b.>",
        "<a@b..c>",
        "<a@-b>",
        "<a@b->",
        "<a@b_c>",
        "<a,b@c>",
        "<a@[192.0.2.256]>",
        "<a@[192.0.2]>",
        "<a@[192.0.2.1.1]>",
        "<a@[192.0.2.1>",
        "<a@192.0.2.1]>",
        "<a@[IPv6:192.0.2.1]>",
        "<a@[IPv6:2001:db8::1::2]>",
        "<a@[IPv6:fe80::1%eth0]>",
        "<a@[]>",
        "<a@[tag:]>",
        "<a@[:x]>",
        "<a@[tag-:x]>",
        "<a@[tag:a b]>",
        "<a@[tag:a\\b]>",
        "<@r.example,a@b>",
        "<@r.example:>",
        "<@r.example a@b>",
        "<@:a@b>",
        "<,@r.example:a@b>",
        "<a\u{85}@b>",
        "<a\u{a0}@b>",
        "<a@b\u{2028}>",
    ] {
        assert!(reverse(argument).is_err(), "{argument:?}");
        assert!(forward(argument).is_err(), "{argument:?}");
    }
    assert!(ForwardPath::parse(b"<a\xff@b>").is_err());
    assert!(ForwardPath::parse(b"<a@\xc3>").is_err());
}

#[test]
fn only_the_reverse_path_may_be_null_and_only_the_forward_path_a_bare_postmaster() {
    assert_eq!(ReversePath::parse(b" <>"), Ok((ReversePath::Null, &b""[..])));
    assert_eq!(ReversePath::parse(b"<> SIZE=1"), Ok((ReversePath::Null, &b" SIZE=1"[..])));
    forward("<>").expect_err("no recipient");
    assert_eq!(ForwardPath::parse(b"<PostMaster>"), Ok((ForwardPath::Postmaster(b"PostMaster"), &b""[..])));
    assert_eq!(forward("<postmaster@b>").as_deref(), Ok("postmaster@b|"));
    assert_eq!(forward("<postmaster.x@b>").as_deref(), Ok("postmaster.x@b|"));
    reverse("<postmaster>").expect_err("no sender");
    forward("<postmasters>").expect_err("no domain");
}

#[test]
fn lengths_are_taken_up_to_the_limits_and_no_further() {
    let local = |len: usize| format!("<{}@b>", "a".repeat(len));
    assert!(forward(&local(LOCAL_PART_LEN_MAX)).is_ok());
    assert_eq!(forward(&local(LOCAL_PART_LEN_MAX + 1)), Err("local part longer than 64 octets"));

    let label = |len: usize| format!("<a@{}>", "b".repeat(len));
    assert!(forward(&label(63)).is_ok());
    assert_eq!(forward(&label(64)), Err("a domain label longer than 63 octets"));

    // `<a@` and `>` leave 252 of the 256 octets of a path to the domain.
    let path = |len: usize| format!("<a@{}>", ".bbbbbbb".repeat(40).get(1..=len).expect("long enough"));
    assert!(forward(&path(252)).is_ok());
    assert_eq!(forward(&path(253)), Err("longer than 256 octets"));
    assert_eq!(forward(&path(257)), Err("domain longer than 255 octets"));
    let classic = |len: usize| path(len).trim_matches(['<', '>']).to_owned();
    assert!(forward(&classic(252)).is_ok());
    assert_eq!(forward(&classic(253)), Err("longer than 256 octets"));
    let routed = |len: usize| format!("<@r:{}", &path(len)[1..]);
    assert!(forward(&routed(249)).is_ok());
    assert_eq!(forward(&routed(250)), Err("longer than 256 octets"));
}

#[test]
fn a_mailbox_comes_apart_at_the_right_at_sign() {
    let mailbox = Mailbox::parse(b"\"a@b\\ c\"@[IPv6:::1]").expect("a mailbox");
    assert_eq!(mailbox.local_part(), b"\"a@b\\ c\"");
    assert_eq!(mailbox.local_part_unquoted().collect::<Vec<_>>(), b"a@b c");
    assert_eq!(mailbox.domain(), Domain::Literal(b"[IPv6:::1]"));
    let mailbox = Mailbox::parse("ü@example.org".as_bytes()).expect("a mailbox");
    assert_eq!(mailbox.domain(), Domain::Name(b"example.org"));
    assert!(!mailbox.is_ascii());
    assert!(Mailbox::parse(b"a@b ").is_err());
}

/// Text that is often an address or nearly one.
fn address_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => proptest::sample::select(vec![
            "@", ".", "<", ">", "\"", "\\", " ", "[", "]", ":", ",", "-", "a", "b1", "IPv6:", "::1", "192.0.2.1",
            "tag:x", "ü", "postmaster", "\r", "\0", "example.org", "\"q r\"", "a@b",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 1..3),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn mailboxes_agree_with_the_naive_twin(text in address_like()) {
        prop_assert_eq!(Mailbox::parse(&text).is_ok(), naive::is_mailbox(&text));
    }

    #[test]
    fn a_path_that_parses_is_a_mailbox_of_the_naive_twin(text in address_like()) {
        if let Ok((path, rest)) = ForwardPath::parse(&text) {
            let is_postmaster = path.text().eq_ignore_ascii_case(b"postmaster");
            prop_assert!(naive::is_mailbox(path.text()) || is_postmaster);
            prop_assert!(rest.is_empty() || rest[0] == b' ');
        }
        let bracketed = [b"<", &text[..], b">"].concat();
        let is_path = naive::is_mailbox(&text) && bracketed.len() <= PATH_LEN_MAX;
        if is_path {
            prop_assert_eq!(ForwardPath::parse(&bracketed).map(|(path, _)| path.text()), Ok(&text[..]));
        }
    }
}
