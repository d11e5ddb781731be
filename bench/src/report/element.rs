//! Elements of HTML and SVG as a tree that can only be written well-formed, with everything in it escaped.
//!
//! What is written is both HTML and XML, so that an XML parser can hold it to account.

use std::fmt::{Display, Formatter, Write};

/// An element under construction.
#[derive(Clone, Debug)]
pub(super) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    children: Vec<Node>,
}

#[derive(Clone, Debug)]
enum Node {
    Element(Element),
    Text(String),
    /// Text of our own that goes out as it is: a style sheet.
    Raw(&'static str),
}

/// An empty element.
pub(super) fn element(name: &'static str) -> Element {
    Element { name, attributes: Vec::new(), children: Vec::new() }
}

impl Element {
    /// Sets an attribute, once each.
    pub(super) fn attribute(mut self, name: &'static str, value: impl Display) -> Self {
        self.attributes.push((name, value.to_string()));
        self
    }

    /// Sets a coordinate or length, to a hundredth of a pixel.
    pub(super) fn at(self, name: &'static str, value: f64) -> Self {
        self.attribute(name, coordinate(value))
    }

    pub(super) fn class(self, value: impl Display) -> Self {
        self.attribute("class", value)
    }

    pub(super) fn child(mut self, child: Self) -> Self {
        self.children.push(Node::Element(child));
        self
    }

    pub(super) fn children(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        self.children.extend(children.into_iter().map(Node::Element));
        self
    }

    pub(super) fn text(mut self, text: impl Into<String>) -> Self {
        self.children.push(Node::Text(text.into()));
        self
    }

    /// Text that is written unescaped: never anything that came from outside.
    pub(super) fn raw(mut self, text: &'static str) -> Self {
        self.children.push(Node::Raw(text));
        self
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        /// HTML knows no end tag of these, and no other form without one.
        const VOID: [&str; 2] = ["meta", "br"];
        write!(f, "<{}", self.name)?;
        for (name, value) in &self.attributes {
            write!(f, " {name}=\"")?;
            escape(f, value)?;
            f.write_str("\"")?;
        }
        if VOID.contains(&self.name) {
            return f.write_str("/>\n");
        }
        f.write_str(">")?;
        for child in &self.children {
            match child {
                Node::Element(element) => element.fmt(f)?,
                Node::Text(text) => escape(f, text)?,
                Node::Raw(text) => f.write_str(text)?,
            }
        }
        write!(f, "</{}>", self.name)?;
        // A line for each block keeps the page readable as a file; inline elements must not gain spaces.
        let is_inline =
            matches!(self.name, "span" | "code" | "a" | "b" | "tspan" | "text" | "title" | "desc");
        if is_inline { Ok(()) } else { f.write_str("\n") }
    }
}

/// Writes `text` so that it is text in HTML and XML and inside quoted attributes, whatever it holds.
fn escape(f: &mut Formatter<'_>, text: &str) -> std::fmt::Result {
    for c in text.chars() {
        match c {
            '&' => f.write_str("&amp;")?,
            '<' => f.write_str("&lt;")?,
            '>' => f.write_str("&gt;")?,
            '"' => f.write_str("&quot;")?,
            '\'' => f.write_str("&#39;")?,
            '\t' | '\n' => f.write_char(c)?,
            // XML has no place for most of these.
            c if super::is_hidden(c) || matches!(c, '\u{fffe}' | '\u{ffff}') => f.write_char('\u{fffd}')?,
            _ => f.write_char(c)?,
        }
    }
    Ok(())
}

/// A coordinate to a hundredth, without zeros that say nothing.
pub(super) fn coordinate(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let written = element("b").attribute("title", "\"><script>").text("</b>&\u{0}\u{202e}'").to_string();
        assert_eq!(written, "<b title=\"&quot;&gt;&lt;script&gt;\">&lt;/b&gt;&amp;\u{fffd}\u{fffd}&#39;</b>");
    }

    #[test]
    fn coordinates_are_short() {
        assert_eq!([1.0, 0.125, -0.001, 12.3].map(coordinate), ["1", "0.12", "0", "12.3"]);
    }
}
