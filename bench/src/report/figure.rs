//! A measured number and how it is written: three digits that count, units a person would choose.

use serde::{Deserialize, Serialize};

use crate::stats::{Spread, thousands};

/// A number, and the ends it varied between when it was measured more than once.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// The number; the median of several. No number (in JSON `null`) where there was nothing to take it from.
    #[serde(deserialize_with = "or_no_number")]
    pub value: f64,
    /// The smallest, where there were several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest, where there were several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

impl From<f64> for Figure {
    fn from(value: f64) -> Self {
        Self { value: if value.is_finite() { value } else { f64::NAN }, min: None, max: None }
    }
}

impl From<Spread> for Figure {
    fn from(spread: Spread) -> Self {
        let Spread { median, min, max } = spread;
        // Ends that are no numbers are none.
        if min == max || !(median.is_finite() && min.is_finite() && max.is_finite()) {
            return Self::from(median);
        }
        Self { value: median, min: Some(min), max: Some(max) }
    }
}

impl From<Spread> for super::Cell {
    fn from(spread: Spread) -> Self {
        Self::Figure(spread.into())
    }
}

impl Figure {
    /// `value (min–max)`; the value alone when nothing else is known.
    pub fn words(&self) -> String {
        let value = number(self.value);
        match (self.min, self.max) {
            (None, None) => value,
            _ => format!("{value} ({}–{})", number(self.low()), number(self.high())),
        }
    }

    /// The lower end, which is the value itself where there is no other.
    pub fn low(&self) -> f64 {
        self.min.unwrap_or(self.value).min(self.value)
    }

    /// The upper end, which is the value itself where there is no other.
    pub fn high(&self) -> f64 {
        self.max.unwrap_or(self.value).max(self.value)
    }
}

/// What stands where there is no number.
const NO_NUMBER: &str = "NOT MEASURED";

/// JSON has no infinity and no NaN: serde writes `null` for them.
fn or_no_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Option::<f64>::deserialize(deserializer).map(|value| value.unwrap_or(f64::NAN))
}

/// A number with three digits that count, whole from 100 on, without zeros that say nothing.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if !size.is_finite() {
        return NO_NUMBER.into();
    }
    if size == 0.0 {
        return "0".into();
    }
    // 99.96 rounds to 100.0: the digits are counted after rounding, not before.
    let magnitude = format!("{size:.2e}").split_once('e').and_then(|(_, power)| power.parse().ok());
    let decimals = usize::try_from(2 - magnitude.unwrap_or(0_i32)).unwrap_or(0).min(9);
    thousands(&format!("{value:.decimals$}"))
}

/// A number with its unit, in the multiple a person would choose: `1.5 ms` for 1500 `µs`, `64 KiB` for 65536 `B`.
pub(crate) fn with_unit(value: f64, unit: &str) -> String {
    const TIMES: [(f64, &str); 3] = [(1e6, "s"), (1e3, "ms"), (1.0, "µs")];
    const SIZES: [(f64, &str); 4] =
        [((1_u64 << 30) as f64, "GiB"), ((1 << 20) as f64, "MiB"), (1024.0, "KiB"), (1.0, "B")];
    let multiples: &[(f64, &str)] = match unit {
        "µs" | "us" => &TIMES,
        "B" => &SIZES,
        _ => &[],
    };
    if !value.is_finite() {
        return NO_NUMBER.into();
    }
    let fitting = multiples.iter().find(|(factor, _)| value.abs() >= *factor).or(multiples.last());
    match fitting {
        Some((factor, unit)) => format!("{} {unit}", short(value / factor)),
        None => short(value),
    }
}

/// A number for an axis: no zeros behind the point, millions as M.
fn short(value: f64) -> String {
    if value.abs() >= 1e6 {
        return format!("{} M", short(value / 1e6));
    }
    let text = number(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits_that_count() {
        let cases = [
            (0.0, "0"),
            (0.0012345, "0.00123"),
            (0.9996, "1.00"),
            (1.0, "1.00"),
            (45.46, "45.5"),
            (99.96, "100"),
            (100.4, "100"),
            (44999.3, "44,999"),
            (-12.34, "-12.3"),
            (f64::NAN, "NOT MEASURED"),
            (f64::INFINITY, "NOT MEASURED"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text, "{value}");
        }
    }

    #[test]
    fn units_are_the_ones_a_person_would_choose() {
        let cases = [
            (1500.0, "µs", "1.5 ms"),
            (0.5, "µs", "0.5 µs"),
            (2e6, "us", "2 s"),
            (65536.0, "B", "64 KiB"),
            (1_048_576.0, "B", "1 MiB"),
            (0.0, "B", "0 B"),
            (20_000.0, "messages/s", "20,000"),
            (2.5e6, "records/s", "2.5 M"),
        ];
        for (value, unit, text) in cases {
            assert_eq!(with_unit(value, unit), text);
        }
    }

    #[test]
    fn a_ratio_to_nothing_is_no_zero_and_outlives_json() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for figure in [Figure::from(value), Figure::from(Spread { median: value, min: 0.0, max: value })]
            {
                assert_eq!(figure.words(), "NOT MEASURED");
                let json = serde_json::to_string(&figure).expect("JSON");
                assert_eq!(json, r#"{"value":null}"#);
                let again: Figure = serde_json::from_str(&json).expect("a figure");
                assert_eq!(again.words(), "NOT MEASURED");
            }
        }
        assert_eq!(with_unit(f64::NAN, "µs"), "NOT MEASURED");
    }

    #[test]
    fn what_varied_is_written_with_its_ends() {
        assert_eq!(Figure::from(Spread::of([3.0, 1.0, 2.0])).words(), "2.00 (1.00–3.00)");
        assert_eq!(Figure::from(Spread::of([2.0, 2.0])).words(), "2.00");
    }
}
