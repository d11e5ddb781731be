//! The middle and the ends of a few repeated measurements.

use serde::Serialize;

/// Median, minimum and maximum of repeated measurements of one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The middle value; of an even number of values the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// The spread of `values`; all zero when there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (values.first(), values.last()) else { return Self::default() };
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        Self { median, min: *min, max: *max }
    }

    /// `median (min-max)` with so many decimals; the median alone when nothing varied.
    pub fn words(&self, decimals: usize) -> String {
        let number = |value: f64| thousands(&format!("{value:.decimals$}"));
        let (median, min, max) = (number(self.median), number(self.min), number(self.max));
        if min == max { median } else { format!("{median} ({min}-{max})") }
    }
}

/// Puts a comma between each three digits before the decimal point.
pub fn thousands(number: &str) -> String {
    let (whole, fraction) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut text = String::with_capacity(number.len() + whole.len() / 3);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_between_the_ends() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([1.0, 2.0]).median, 1.5);
        assert_eq!(Spread::of([]), Spread::default());
        assert_eq!(Spread::of([1234.5, 1000.0, 2_000_000.0]).words(0), "1,234 (1,000-2,000,000)");
        assert_eq!(Spread::of([0.25]).words(2), "0.25");
    }
}
