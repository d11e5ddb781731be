//! Values as a person writes them on the command line: sizes, times, core lists.
//!
//! A bare number where a unit matters is refused: `--idle-timeout 300` has been read as seconds, milliseconds and
//! minutes by three programs on one machine.

use std::time::Duration;

use crate::commit::Gather;
use crate::config::Cores;

const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

/// Units of time, in microseconds.
const TIME_UNITS: &[(&str, u64)] = &[
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("min", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

/// Reads a size such as `25MiB` as octets.
///
/// # Errors
/// In words, when there is no unit, an unknown one, no whole number, or more than 2^64 octets.
pub fn size(text: &str) -> Result<u64, String> {
    with_unit(text, SIZE_UNITS, "25MiB")
}

/// Reads a time such as `300s`.
///
/// # Errors
/// In words, like [`size`].
pub fn duration(text: &str) -> Result<Duration, String> {
    with_unit(text, TIME_UNITS, "300s").map(Duration::from_micros)
}

/// Reads how long a batch waits: a time, or `auto`.
///
/// # Errors
/// In words, like [`size`].
pub fn gather(text: &str) -> Result<Gather, String> {
    match text {
        "auto" => Ok(Gather::WhenItPays),
        _ => with_unit(text, TIME_UNITS, "300us or auto").map(Duration::from_micros).map(Gather::For),
    }
}

fn with_unit(text: &str, units: &[(&str, u64)], example: &str) -> Result<u64, String> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let names = || units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if digits.is_empty() {
        return Err(format!("'{text}' is not a whole number with a unit; write it as in {example}"));
    }
    if unit.is_empty() {
        return Err(format!("'{text}' has no unit; write it as in {example} (units: {})", names()));
    }
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let factor = factor.ok_or_else(|| format!("'{unit}' is not a unit here; use one of {}", names()))?;
    let number: Option<u64> = digits.parse().ok();
    number.and_then(|number| number.checked_mul(factor)).ok_or_else(|| format!("'{text}' is too large"))
}

/// Reads `all`, a count such as `4`, or a list such as `0,2-5`; a list of one core is written `3-3`.
///
/// # Errors
/// In words, when it is none of these, names no core, or names one twice.
pub fn cores(text: &str) -> Result<Cores, String> {
    if text == "all" {
        return Ok(Cores::All);
    }
    let number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_digit());
        digits.then(|| part.parse::<usize>().ok()).flatten().filter(|number| *number < 1 << 16)
    };
    if let Some(count) = number(text) {
        return match count {
            0 => Err("0 cores can serve nobody; write all, a count, or a list such as 0,2-5".to_owned()),
            count => Ok(Cores::Count(count)),
        };
    }
    let mut list = Vec::new();
    for part in text.split(',') {
        let range = match part.split_once('-') {
            Some((first, last)) => number(first).zip(number(last)),
            None => number(part).map(|core| (core, core)),
        };
        let error =
            || format!("'{part}' is not a core or a range; write all, a count, or a list such as 0,2-5");
        let (first, last) = range.filter(|(first, last)| first <= last).ok_or_else(error)?;
        list.extend(first..=last);
    }
    list.sort_unstable();
    match list.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("core {} is named twice in '{text}'", pair[0])),
        None => Ok(Cores::List(list)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_need_their_unit() {
        assert_eq!(size("25MiB"), Ok(26_214_400));
        assert_eq!(size("0B"), Ok(0));
        assert_eq!(size("1kB"), Ok(1_000));
        assert_eq!(duration("300s"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("5ms"), Ok(Duration::from_millis(5)));
        assert_eq!(duration("2min"), Ok(Duration::from_secs(120)));
        for text in
            ["25", "0", "", "MiB", "25 MiB", "25mib", "-1B", "1.5MiB", "18446744073709551615KiB", "+1B"]
        {
            let error = size(text).expect_err(text);
            assert!(!error.is_empty());
        }
        assert_eq!(
            size("25"),
            Err("'25' has no unit; write it as in 25MiB (units: B, kB, KiB, MB, MiB, GB, GiB, TB, TiB)"
                .to_owned())
        );
        assert!(duration("300").expect_err("no unit").contains("300s"));
        assert!(duration("300m").expect_err("no such unit").contains("min"));
    }

    #[test]
    fn cores_are_all_a_count_or_a_list() {
        assert_eq!(cores("all"), Ok(Cores::All));
        assert_eq!(cores("4"), Ok(Cores::Count(4)));
        assert_eq!(cores("5,0,2-3"), Ok(Cores::List(vec![0, 2, 3, 5])));
        assert_eq!(cores("3-3"), Ok(Cores::List(vec![3])));
        for text in ["", "0", ",", "1,", "3-1", "a", "1,1", "0-2,1", "-1", "99999999999", "ALL"] {
            assert!(cores(text).is_err(), "{text}");
        }
    }
}
