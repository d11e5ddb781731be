//! What all charts share: their two widths, the text in them, the legend, the frame that names them.

use super::element::{Element, element};

/// How wide a chart is drawn. Text keeps its size, so a phone gets a drawing of its own, not a small copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// For 600 pixels and more, and for paper.
    Wide,
    /// For a phone.
    Narrow,
}

/// Colours, each with a shape and a dash of its own, so that no colour has to be told from another.
pub(super) const COLOURS: usize = 8;
/// Pixels a letter or digit takes in a wide font: only to wrap, and to keep labels apart and within the frame.
pub(super) const LETTER: f64 = 7.4;

impl Width {
    pub(super) fn pixels(self) -> f64 {
        match self {
            Self::Wide => 560.0,
            Self::Narrow => 350.0,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Narrow => "narrow",
        }
    }
}

/// An empty drawing that says what it shows.
pub(super) fn drawing(width: Width, height: f64, title: &str) -> Element {
    let box_of = format!("0 0 {} {}", width.pixels(), super::element::coordinate(height));
    element("svg")
        .attribute("xmlns", "http://www.w3.org/2000/svg")
        .class(width.class())
        .attribute("viewBox", box_of)
        .attribute("role", "img")
        .attribute("aria-label", title)
        .child(element("title").text(title))
}

pub(super) fn line(class: &str, from: (f64, f64), to: (f64, f64)) -> Element {
    element("line").class(class).at("x1", from.0).at("y1", from.1).at("x2", to.0).at("y2", to.1)
}

/// Text that begins, ends or is centred at `at`: `start`, `end` or `middle`.
pub(super) fn words(anchor: &str, at: (f64, f64), text: impl Into<String>) -> Element {
    element("text").attribute("text-anchor", anchor).at("x", at.0).at("y", at.1).text(text)
}

pub(super) fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER
}

/// One of four dashes and markers: after all colours were used the next series has another shape in the first.
pub(super) fn shape_of(index: usize) -> usize {
    (index + index / COLOURS) % 4
}

/// The shape of series `index` around a point, in its colour.
pub(super) fn marker(index: usize, (x, y): (f64, f64)) -> Element {
    const R: f64 = 4.2;
    let shape = |corners: &[(f64, f64)]| {
        let corners = corners.iter().map(|(dx, dy)| format!("{:.2},{:.2}", x + dx * R, y + dy * R));
        element("polygon").attribute("points", corners.collect::<Vec<_>>().join(" "))
    };
    let shape = match shape_of(index) {
        0 => element("circle").at("cx", x).at("cy", y).at("r", R),
        1 => shape(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
        2 => shape(&[(0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)]),
        _ => shape(&[(0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)]),
    };
    shape.class(format_args!("fill c{}", index % COLOURS))
}

/// What each colour means, as HTML beside the drawing: it wraps by itself.
pub(super) fn legend<'a>(names: impl IntoIterator<Item = (usize, &'a str)>, is_curve: bool) -> Element {
    let entry = |(index, name): (usize, &str)| {
        let swatch = element("svg")
            .attribute("xmlns", "http://www.w3.org/2000/svg")
            .class("swatch")
            .attribute("viewBox", "0 0 26 12")
            .attribute("aria-hidden", "true");
        let colour = index % COLOURS;
        let swatch = if is_curve {
            let stroke = format!("curve c{colour} d{}", shape_of(index));
            swatch.child(line(&stroke, (1.0, 6.0), (25.0, 6.0))).child(marker(index, (13.0, 6.0)))
        } else {
            swatch.child(bar(colour, (6.0, 0.0), (12.0, 12.0)))
        };
        element("li").child(swatch).child(element("span").text(name))
    };
    element("ul").class("legend").children(names.into_iter().map(entry))
}

/// A filled rectangle from its upper left corner, so wide and high.
pub(super) fn bar(colour: usize, at: (f64, f64), size: (f64, f64)) -> Element {
    element("rect")
        .class(format_args!("fill c{}", colour % COLOURS))
        .at("x", at.0)
        .at("y", at.1)
        .at("width", size.0)
        .at("height", size.1)
        .attribute("rx", "2")
}

/// Text in lines of at most so many letters, broken between words, or within one that is longer.
pub(super) fn wrapped(text: &str, letters_max: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        while !word.is_empty() {
            let line = lines.last_mut().expect("there is always a line");
            let used = line.chars().count();
            let gap = usize::from(used > 0);
            if used + gap + word.len() <= letters_max {
                line.extend(std::iter::repeat_n(' ', gap).chain(word.drain(..)));
            } else if used == 0 {
                line.extend(word.drain(..letters_max.max(1)));
            } else {
                lines.push(String::new());
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_lose_nothing() {
        assert_eq!(wrapped("smtp-sink, keeps nothing", 12), ["smtp-sink,", "keeps", "nothing"]);
        assert_eq!(wrapped("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrapped("", 3), [""]);
    }
}
