//! Sizes, times and core lists as a person types them. A bare number where a unit matters is refused.

use std::time::Duration;

/// Octets from `4096B`, `4KiB`, `1MiB`, `2GiB`.
///
/// # Errors
/// Says what a size looks like when `text` is none.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let (number, unit) = split_unit(text);
    let factor: usize = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("`{text}` is no size: write it like 4096B, 4KiB or 1MiB")),
    };
    let count: usize = number.parse().map_err(|_| format!("`{text}` is no size: `{number}` is no number"))?;
    count.checked_mul(factor).ok_or_else(|| format!("`{text}` is too large"))
}

/// A time from `250us`, `100ms`, `10s`, `2min`.
///
/// # Errors
/// Says what a time looks like when `text` is none.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text);
    let seconds_per_unit = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "min" => 60.0,
        _ => return Err(format!("`{text}` is no time: write it like 500ms, 10s or 2min")),
    };
    let count: f64 = number.parse().map_err(|_| format!("`{text}` is no time: `{number}` is no number"))?;
    Duration::try_from_secs_f64(count * seconds_per_unit).map_err(|_| format!("`{text}` is too long"))
}

/// A time as [`parse_duration`] takes it, but not none.
///
/// # Errors
/// Says what a time looks like when `text` is none, and that it must be longer than nothing.
pub fn parse_some_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if duration.is_zero() {
        return Err(format!("`{text}` is too short: write a time longer than none"));
    }
    Ok(duration)
}

/// A count of at least one.
///
/// # Errors
/// Says so when `text` is none.
pub fn parse_some_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| format!("`{text}` is no count: write a whole number, at least 1"))
}

/// Core numbers from `0`, `0,2`, `4-7` or a mix of them, in the order given.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CoreList(pub Vec<usize>);

impl std::str::FromStr for CoreList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut cores = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let bad = || format!("`{text}` is no core list: write it like 0, 0,2 or 4-7");
            let first: usize = first.trim().parse().map_err(|_| bad())?;
            let last: usize = last.trim().parse().map_err(|_| bad())?;
            if first > last || last >= CORES_MAX {
                return Err(bad());
            }
            cores.extend(first..=last);
        }
        Ok(Self(cores))
    }
}

impl std::fmt::Display for CoreList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cores: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&cores.join(","))
    }
}

/// One more than the highest core number that can be named.
const CORES_MAX: usize = 1024;

fn split_unit(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    text.split_at(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_need_a_unit() {
        assert_eq!(parse_size("4KiB"), Ok(4096));
        assert_eq!(parse_size("1MiB"), Ok(1 << 20));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("250us"), Ok(Duration::from_micros(250)));
        for bad in ["4096", "", "KiB", "4kb", "1.5KiB", "99999999999999999999GiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        for bad in ["3", "s", "3 s", "-1s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn none_is_no_time_to_measure_for_and_no_count() {
        assert_eq!(parse_some_duration("1us"), Ok(Duration::from_micros(1)));
        for bad in ["0s", "0.0min", "0.0000000001us", "1"] {
            assert!(parse_some_duration(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_some_count("1"), Ok(1));
        for bad in ["0", "-1", "", "x", "1.5", "99999999999999999999"] {
            assert!(parse_some_count(bad).is_err_and(|words| words.contains("at least 1")), "{bad}");
        }
    }

    #[test]
    fn core_lists_take_numbers_and_ranges() {
        assert_eq!("1,4-6".parse(), Ok(CoreList(vec![1, 4, 5, 6])));
        for bad in ["", "a", "3-1", "1,,2", "99999"] {
            assert!(bad.parse::<CoreList>().is_err(), "{bad}");
        }
    }
}
