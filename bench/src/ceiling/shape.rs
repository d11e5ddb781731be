//! One shape of load: size of the messages, connections, and whether commands are sent ahead of replies.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::load::session::Pipelining;
use crate::units::parse_size;

/// What the load looks like; written `4KiBx64`, or `4KiBx64:lockstep`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// Octets of a message.
    pub size: usize,
    /// Connections, kept for the whole run.
    pub connections: usize,
    /// Four round trips a message instead of one.
    pub lockstep: bool,
}

impl Shape {
    /// Those measured unless told otherwise.
    pub const DEFAULTS: [&'static str; 6] =
        ["4KiBx64", "4KiBx64:lockstep", "4KiBx1000", "4KiBx1000:lockstep", "64KiBx64", "1MiBx16"];

    /// When commands are sent ahead of replies.
    pub fn pipelining(&self) -> Pipelining {
        if self.lockstep { Pipelining::Never } else { Pipelining::Always }
    }

    /// Octets in flight at most: in a closed loop each connection has one message under way.
    pub fn in_flight_len(&self) -> usize {
        self.size.saturating_mul(self.connections)
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no shape: write it like 4KiBx64 or 64KiBx1000:lockstep");
        let (load, lockstep) = match text.split_once(':') {
            None => (text, false),
            Some((load, "lockstep")) => (load, true),
            Some(_) => return Err(bad()),
        };
        let (size, connections) = load.split_once('x').ok_or_else(bad)?;
        let (size, connections) = (parse_size(size)?, connections.parse().map_err(|_| bad())?);
        let is_sound = size >= SIZE_MIN && (1..=CONNECTIONS_MAX).contains(&connections);
        is_sound.then_some(Self { size, connections, lockstep }).ok_or_else(bad)
    }
}

/// A text ends with CR LF.
const SIZE_MIN: usize = 2;
/// One source address has some 28,000 ports.
const CONNECTIONS_MAX: usize = 28_000;

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(usize, &str); 3] = [(1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")];
        let unit = UNITS.into_iter().find(|(factor, _)| self.size.is_multiple_of(*factor));
        let (factor, unit) = unit.unwrap_or((1, "B"));
        let manner = if self.lockstep { ":lockstep" } else { "" };
        write!(f, "{}{unit}x{}{manner}", self.size / factor, self.connections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_read_as_they_are_printed() {
        for text in Shape::DEFAULTS.into_iter().chain(["1500Bx1"]) {
            let shape: Shape = text.parse().expect("a shape");
            assert_eq!(shape.to_string(), text);
        }
        let shape: Shape = "64KiBx1000:lockstep".parse().expect("a shape");
        assert_eq!(shape, Shape { size: 65_536, connections: 1000, lockstep: true });
        for bad in ["", "4KiB", "x3", "4KiBx", "4KiBx0", "1Bx1", "4x64", "4KiBx64:fast", "4KiBx99999"] {
            assert!(bad.parse::<Shape>().is_err(), "{bad}");
        }
    }
}
