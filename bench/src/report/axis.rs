//! Where values lie along an axis, and which of them are written beside it.

use super::figure::with_unit;
use super::{Axis, Scale};

/// Ticks a linear axis aims at; it has about as many.
const LINEAR_TICKS: f64 = 5.0;

/// An axis over a range that holds all of its data.
#[derive(Clone, Debug)]
pub(super) struct Ruler {
    scale: Scale,
    unit: String,
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Ruler {
    /// An axis over `values`; those that have no place on it are to be left out by `takes`.
    pub(super) fn over(axis: &Axis, values: impl IntoIterator<Item = f64>) -> Self {
        let has_place = |value: &f64| takes(axis.scale, *value);
        let values: Vec<f64> = values.into_iter().filter(has_place).collect();
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let ticks = match axis.scale {
            _ if values.is_empty() => vec![1.0, 10.0],
            Scale::Linear => linear_ticks(low.min(0.0), high.max(0.0)),
            Scale::Logarithmic => logarithmic_ticks(low, high, base_of(axis, high / low)),
        };
        let ends = (ticks.first().copied().unwrap_or(1.0), ticks.last().copied().unwrap_or(10.0));
        Self { scale: axis.scale, unit: axis.unit.clone(), low: ends.0, high: ends.1, ticks }
    }

    /// Where `value` lies: 0 at the low end, 1 at the high end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Logarithmic => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        place.clamp(0.0, 1.0)
    }

    /// Whether `value` has a place: it is a number, and above 0 where equal lengths are factors.
    pub(super) fn takes(&self, value: f64) -> bool {
        takes(self.scale, value)
    }

    /// The places and words of the ticks, from the low end on.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        self.ticks.iter().map(|value| (self.place(*value), with_unit(*value, &self.unit))).collect()
    }
}

fn takes(scale: Scale, value: f64) -> bool {
    value.is_finite() && (scale == Scale::Linear || value > 0.0)
}

/// Multiples of 1, 2 or 5 times a power of ten around the range.
fn linear_ticks(low: f64, high: f64) -> Vec<f64> {
    let span = if high > low { high - low } else { 1.0 };
    let power = 10_f64.powf((span / LINEAR_TICKS).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let step = step.into_iter().find(|step| span / step <= LINEAR_TICKS + 0.5).unwrap_or(span);
    let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
    (first..=last.max(first + 1)).map(|index| index as f64 * step).collect()
}

/// Sizes go by powers of 2, or of 4 or 16 where there would be many.
fn base_of(axis: &Axis, factor: f64) -> f64 {
    match factor {
        _ if axis.unit != "B" => 10.0,
        factor if factor <= 64.0 => 2.0,
        factor if factor <= 16_384.0 => 4.0,
        _ => 16.0,
    }
}

/// Powers of `base` around the range; of ten also 2 and 5 times them where the range is short.
fn logarithmic_ticks(low: f64, high: f64, base: f64) -> Vec<f64> {
    // A hair of tolerance: ln(1000) / ln(10) must not ask for a tick beyond 1000.
    let power = |value: f64| value.ln() / base.ln();
    let (first, last) = ((power(low) + 1e-9).floor() as i32, (power(high) - 1e-9).ceil() as i32);
    let last = last.max(first + 1);
    let factors: &[f64] = if base == 10.0 && last - first <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let all = (first..=last).flat_map(|exponent| factors.iter().map(move |f| f * base.powi(exponent)));
    let all: Vec<f64> = all.collect();
    let begin = all.iter().rposition(|tick| *tick <= low * (1.0 + 1e-9)).unwrap_or(0);
    let end = all.iter().position(|tick| *tick >= high * (1.0 - 1e-9)).unwrap_or(all.len() - 1);
    let end = end.max((begin + 1).min(all.len() - 1));
    all[begin..=end].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_contain_their_data() {
        let numbers: [f64; 10] = [1e-9, 0.01, 0.99, 1.0, 3.0, 10.0, 999.0, 1000.0, 45_000.0, 3e12];
        for axis in [Axis::linear("", ""), Axis::logarithmic("", ""), Axis::logarithmic("", "B")] {
            for low in numbers {
                for high in numbers.into_iter().filter(|high| *high >= low) {
                    let ruler = Ruler::over(&axis, [low, high]);
                    let tolerance = 1.0 + 1e-6;
                    assert!(ruler.low <= low * tolerance && high <= ruler.high * tolerance, "{ruler:?}");
                    assert!(ruler.low < ruler.high && ruler.ticks.len() >= 2, "{ruler:?}");
                    assert!(ruler.ticks.len() <= 60, "{ruler:?}");
                    assert!(ruler.place(low) <= ruler.place(high));
                }
            }
        }
    }

    #[test]
    fn ticks_are_round_numbers() {
        let words = |axis: Axis, low, high| -> Vec<String> {
            Ruler::over(&axis, [low, high]).ticks().into_iter().map(|(_, words)| words).collect()
        };
        assert_eq!(words(Axis::linear("", ""), 3.0, 45.0), ["0", "10", "20", "30", "40", "50"]);
        assert_eq!(words(Axis::logarithmic("", ""), 1.0, 1000.0), ["1", "10", "100", "1,000"]);
        assert_eq!(words(Axis::logarithmic("", "µs"), 230.0, 1100.0), ["200 µs", "500 µs", "1 ms", "2 ms"]);
        assert_eq!(words(Axis::logarithmic("", "B"), 4096.0, 16384.0), ["4 KiB", "8 KiB", "16 KiB"]);
    }

    #[test]
    fn what_has_no_place_spoils_no_axis() {
        let ruler = Ruler::over(&Axis::logarithmic("", ""), [0.0, f64::NAN, 5.0, f64::INFINITY]);
        assert!(ruler.takes(5.0) && !ruler.takes(0.0) && !ruler.takes(f64::NAN));
        assert!(ruler.ticks().iter().all(|(place, _)| (0.0..=1.0).contains(place)));
    }
}
