//! The service extensions: what EHLO announces, and the parameters of MAIL that come with it.

use std::fmt::Write;

use super::counts::Fault;
use super::reply::{self, Reply};
use crate::message::envelope::MailParameters;
use crate::policy::Limits;

/// A service extension (RFC 5321 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// RFC 2920.
    Pipelining,
    /// RFC 1870.
    Size,
    /// RFC 6152.
    EightBitMime,
    /// RFC 2034.
    EnhancedStatusCodes,
    /// RFC 6531.
    SmtpUtf8,
}

impl Extension {
    /// What is announced, in this order.
    pub const ANNOUNCED: [Self; 5] =
        [Self::Pipelining, Self::Size, Self::EightBitMime, Self::EnhancedStatusCodes, Self::SmtpUtf8];

    /// The word in the reply to EHLO.
    #[must_use]
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Pipelining => "PIPELINING",
            Self::Size => "SIZE",
            Self::EightBitMime => "8BITMIME",
            Self::EnhancedStatusCodes => "ENHANCEDSTATUSCODES",
            Self::SmtpUtf8 => "SMTPUTF8",
        }
    }
}

/// The reply to EHLO (RFC 5321 section 4.1.1.1).
#[must_use]
pub fn ehlo_reply(hostname: &str, limits: &Limits) -> String {
    let mut reply = format!("250-{hostname}\r\n");
    for (index, extension) in Extension::ANNOUNCED.iter().enumerate() {
        let is_last = index + 1 == Extension::ANNOUNCED.len();
        reply.push_str(if is_last { "250 " } else { "250-" });
        reply.push_str(extension.keyword());
        if *extension == Extension::Size {
            write!(reply, " {}", limits.message_size_max).expect("a String takes what is written");
        }
        reply.push_str("\r\n");
    }
    reply
}

/// Why the parameters of a command are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterError {
    /// The answer.
    pub reply: Reply,
    /// How it counts.
    pub fault: Fault,
}

const MALFORMED: ParameterError = ParameterError { reply: reply::PARAMETER_SYNTAX, fault: Fault::Syntax };
const UNKNOWN: ParameterError = ParameterError { reply: reply::UNKNOWN_PARAMETER, fault: Fault::Parameter };

/// Reads what stands behind the path of MAIL. `extended`: the client said EHLO and was told what we take.
///
/// # Errors
/// Parameters that do not parse or come twice, unknown ones, and any at all after HELO.
pub fn mail_parameters(text: &[u8], extended: bool) -> Result<MailParameters, ParameterError> {
    let mut parameters = MailParameters::default();
    let mut body_given = false;
    for parameter in words(text) {
        let (keyword, value) = split(parameter)?;
        if !extended {
            return Err(UNKNOWN);
        }
        if keyword.eq_ignore_ascii_case(b"SIZE") {
            let size = decimal(value.ok_or(MALFORMED)?)?;
            set_once(parameters.size.replace(size).is_some())?;
        } else if keyword.eq_ignore_ascii_case(b"BODY") {
            set_once(std::mem::replace(&mut body_given, true))?;
            parameters.eight_bit = is_eight_bit(value.ok_or(MALFORMED)?)?;
        } else if keyword.eq_ignore_ascii_case(b"SMTPUTF8") {
            set_once(std::mem::replace(&mut parameters.smtputf8, true))?;
            if value.is_some() {
                return Err(MALFORMED);
            }
        } else {
            return Err(UNKNOWN);
        }
    }
    Ok(parameters)
}

/// Reads what stands behind the path of RCPT: nothing is announced for it.
///
/// # Errors
/// Any parameter.
pub fn rcpt_parameters(text: &[u8]) -> Result<(), ParameterError> {
    match words(text).next() {
        None => Ok(()),
        Some(parameter) => split(parameter).and(Err(UNKNOWN)),
    }
}

/// RFC 5321 section 4.1.1.11: no parameter may come twice.
fn set_once(was_set: bool) -> Result<(), ParameterError> {
    if was_set { Err(MALFORMED) } else { Ok(()) }
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|octet| *octet == b' ').filter(|word| !word.is_empty())
}

/// esmtp-param = esmtp-keyword ["=" esmtp-value] (RFC 5321 section 4.1.2, RFC 6531 section 3.3)
fn split(parameter: &[u8]) -> Result<(&[u8], Option<&[u8]>), ParameterError> {
    let keyword_len = memchr::memchr(b'=', parameter).unwrap_or(parameter.len());
    let (keyword, value) = parameter.split_at(keyword_len);
    let is_keyword = keyword.first().is_some_and(u8::is_ascii_alphanumeric)
        && keyword.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-');
    let value = value.strip_prefix(b"=");
    let is_value = value.is_none_or(|value| {
        !value.is_empty() && value.iter().all(|octet| matches!(octet, b'!'..=b'<' | b'>'..=b'~' | 0x80..))
    });
    if is_keyword && is_value { Ok((keyword, value)) } else { Err(MALFORMED) }
}

/// size-value = 1*20DIGIT (RFC 1870 section 5); what does not fit 64 bits is larger than any limit.
fn decimal(digits: &[u8]) -> Result<u64, ParameterError> {
    if digits.is_empty() || digits.len() > 20 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(MALFORMED);
    }
    Ok(digits
        .iter()
        .fold(0u64, |value, digit| value.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

/// RFC 6152 section 2. BINARYMIME (RFC 3030) needs BDAT, which is not announced.
fn is_eight_bit(value: &[u8]) -> Result<bool, ParameterError> {
    if value.eq_ignore_ascii_case(b"8BITMIME") {
        return Ok(true);
    }
    if value.eq_ignore_ascii_case(b"7BIT") {
        return Ok(false);
    }
    Err(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announced_parameters_are_read_in_any_case_and_order() {
        for (text, parameters) in [
            ("", MailParameters::default()),
            (" SIZE=0", MailParameters { size: Some(0), ..Default::default() }),
            (
                " smtputf8  body=8bitmime Size=00012345678901234567",
                MailParameters { eight_bit: true, smtputf8: true, size: Some(12_345_678_901_234_567) },
            ),
            (" BODY=7BIT", MailParameters::default()),
            (" SIZE=99999999999999999999", MailParameters { size: Some(u64::MAX), ..Default::default() }),
        ] {
            assert_eq!(mail_parameters(text.as_bytes(), true), Ok(parameters), "{text}");
        }
    }

    #[test]
    fn malformed_parameters_are_501_and_unknown_ones_555() {
        for (text, reply) in [
            (" SIZE", reply::PARAMETER_SYNTAX),
            (" SIZE=", reply::PARAMETER_SYNTAX),
            (" SIZE=-1", reply::PARAMETER_SYNTAX),
            (" SIZE=1k", reply::PARAMETER_SYNTAX),
            (" SIZE=000000000000000000001", reply::PARAMETER_SYNTAX),
            (" SIZE=1 SIZE=1", reply::PARAMETER_SYNTAX),
            (" SIZE==1", reply::PARAMETER_SYNTAX),
            (" =1", reply::PARAMETER_SYNTAX),
            (" -A=1", reply::PARAMETER_SYNTAX),
            (" A_B=1", reply::PARAMETER_SYNTAX),
            (" A=\x01", reply::PARAMETER_SYNTAX),
            (" BODY", reply::PARAMETER_SYNTAX),
            (" BODY=7BIT BODY=7BIT", reply::PARAMETER_SYNTAX),
            (" SMTPUTF8=yes", reply::PARAMETER_SYNTAX),
            (" SMTPUTF8 SMTPUTF8", reply::PARAMETER_SYNTAX),
            (" BODY=BINARYMIME", reply::UNKNOWN_PARAMETER),
            (" RET=FULL", reply::UNKNOWN_PARAMETER),
            (" X", reply::UNKNOWN_PARAMETER),
        ] {
            let error = mail_parameters(text.as_bytes(), true).expect_err(text);
            assert_eq!(error.reply, reply, "{text}");
        }
    }

    #[test]
    fn after_helo_every_parameter_is_unknown() {
        for text in [" SIZE=1", " BODY=8BITMIME", " SMTPUTF8", " X=1"] {
            assert_eq!(mail_parameters(text.as_bytes(), false), Err(UNKNOWN), "{text}");
        }
        assert_eq!(mail_parameters(b"", false), Ok(MailParameters::default()));
    }

    #[test]
    fn rcpt_takes_no_parameter() {
        assert_eq!(rcpt_parameters(b" "), Ok(()));
        assert_eq!(rcpt_parameters(b" NOTIFY=NEVER"), Err(UNKNOWN));
        assert_eq!(rcpt_parameters(b" NOTIFY=\x01"), Err(MALFORMED));
    }

    #[test]
    fn ehlo_announces_every_extension_once() {
        let limits = Limits { message_size_max: 1234, ..Limits::default() };
        assert_eq!(
            ehlo_reply("mx.example.org", &limits),
            "250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE 1234\r\n250-8BITMIME\r\n\
             250-ENHANCEDSTATUSCODES\r\n250 SMTPUTF8\r\n"
        );
    }
}
