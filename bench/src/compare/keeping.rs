//! What becomes of a message before its 250, in three classes: servers of different ones do different work.

use super::catalogue::Peer;
use crate::report::{BarGroup, BarSeries, Figure};

/// A class of servers that do as much for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keeping {
    /// On disk.
    Synced,
    /// In a file that no sync covers.
    Written,
    /// Gone.
    Nothing,
}

impl Keeping {
    const ALL: [Self; 3] = [Self::Synced, Self::Written, Self::Nothing];

    /// As the catalogue has it in words.
    pub(super) fn of(peer: &Peer) -> Self {
        match peer.keeps {
            "nothing" => Self::Nothing,
            keeps if keeps.contains("sync") && !keeps.contains("no sync") => Self::Synced,
            _ => Self::Written,
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Self::Synced => "synced to disk before the 250",
            Self::Written => "written before the 250, not synced",
            Self::Nothing => "keeps nothing",
        }
    }
}

/// Servers side by side: by what they keep, mailrace in a colour of its own.
pub(super) struct Line<'a, T> {
    ordered: Vec<(&'a Peer, &'a T)>,
}

impl<'a, T> Line<'a, T> {
    pub(super) fn up(servers: impl Iterator<Item = (&'a Peer, &'a T)>) -> Self {
        let mut ordered: Vec<_> = servers.collect();
        // Stable: within a class they stand as in the tables.
        ordered.sort_by_key(|(peer, _)| Keeping::of(peer));
        Self { ordered }
    }

    /// Names, one for each server, with a star behind those that are marked.
    pub(super) fn categories(&self, is_marked: impl Fn(&T) -> bool) -> Vec<String> {
        let name = |(peer, server): &(&Peer, &T)| {
            let star = if is_marked(server) { " *" } else { "" };
            format!("{}{star}", peer.name)
        };
        self.ordered.iter().map(name).collect()
    }

    pub(super) fn groups(&self) -> Vec<BarGroup> {
        let first = |class| self.ordered.iter().position(|(peer, _)| Keeping::of(peer) == class);
        let group = |class: Keeping| first(class).map(|first| (class, first));
        let groups = Keeping::ALL.into_iter().filter_map(group);
        groups.map(|(class, first)| BarGroup { heading: class.heading().into(), first }).collect()
    }

    /// Two colours: mailrace and the others.
    pub(super) fn series(&self, figure: impl Fn(&T) -> Option<Figure>) -> Vec<BarSeries> {
        let of = |name: &str, is_ours: bool| {
            let value = |(peer, server): &(&Peer, &T)| {
                (is_mailrace(peer) == is_ours).then(|| figure(server)).flatten()
            };
            BarSeries { name: name.into(), values: self.ordered.iter().map(value).collect() }
        };
        let series = [of("mailrace", true), of("other servers", false)];
        series.into_iter().filter(|series| series.values.iter().any(Option::is_some)).collect()
    }
}

/// Whether this is what is measured, or something beside it.
pub(super) fn is_mailrace(peer: &Peer) -> bool {
    matches!(peer.start, super::catalogue::Start::Mailrace(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::catalogue::PEERS;

    #[test]
    fn servers_stand_beside_those_that_do_as_much() {
        let mut of_class = Keeping::ALL.map(|class| {
            let peers = PEERS.iter().filter(|peer| Keeping::of(peer) == class);
            peers.map(|peer| peer.name).collect::<Vec<_>>()
        });
        of_class.iter_mut().for_each(|names| names.sort_unstable());
        assert_eq!(of_class[0], ["exim", "haraka-fsync", "mailrace-sync", "postfix"]);
        assert_eq!(of_class[1], ["haraka-file", "mailrace-os", "opensmtpd"]);
        let nothing =
            ["aiosmtpd", "haraka-discard", "mailin", "mailrace-discard", "sink", "smtp-server", "smtp-sink"];
        assert_eq!(of_class[2], nothing);
    }

    #[test]
    fn mailrace_has_a_colour_of_its_own_and_each_class_a_heading() {
        let line = Line::up(PEERS.iter().map(|peer| (peer, peer)));
        let series = line.series(|peer| Some((peer.name.len() as f64).into()));
        let count = |index: usize| series[index].values.iter().flatten().count();
        assert_eq!((count(0), count(1)), (3, PEERS.len() - 3));
        assert_eq!(line.groups().iter().map(|group| group.first).collect::<Vec<_>>(), [0, 4, 7]);
        let names = line.categories(|peer| peer.name == "exim");
        assert_eq!(names[..3], ["mailrace-sync", "haraka-fsync", "exim *"]);
    }
}
