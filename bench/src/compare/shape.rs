//! The shapes of load every server meets.

use serde::Serialize;

use crate::load::session::Pipelining;

/// One shape of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// 4 KiB, a new connection for each message, in lockstep.
    New,
    /// 4 KiB, connections kept, in lockstep.
    Reused,
    /// 4 KiB, connections kept, pipelined where the server announces it.
    Pipelined,
    /// 64 KiB, connections kept, pipelined where announced.
    #[value(name = "64k")]
    #[serde(rename = "64k")]
    Medium,
    /// 1 MiB, connections kept, pipelined where announced.
    #[value(name = "1m")]
    #[serde(rename = "1m")]
    Large,
    /// 4 KiB to ten recipients, connections kept, pipelined where announced.
    Recipients,
    /// Connections that say EHLO and then nothing.
    Idle,
}

impl Shape {
    /// All, in the order of the report.
    pub const ALL: [Self; 7] =
        [Self::New, Self::Reused, Self::Pipelined, Self::Medium, Self::Large, Self::Recipients, Self::Idle];

    /// As a heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::New => "4 KiB, a new connection for each message, lockstep",
            Self::Reused => "4 KiB, connections reused, lockstep",
            Self::Pipelined => "4 KiB, connections reused, pipelined where announced",
            Self::Medium => "64 KiB, connections reused, pipelined where announced",
            Self::Large => "1 MiB, connections reused, pipelined where announced",
            Self::Recipients => "4 KiB to 10 recipients, connections reused, pipelined where announced",
            Self::Idle => "idle connections",
        }
    }

    /// As a column of a wide table.
    pub fn short(self) -> &'static str {
        match self {
            Self::New => "new connections",
            Self::Reused => "reused",
            Self::Pipelined => "pipelined",
            Self::Medium => "64 KiB",
            Self::Large => "1 MiB",
            Self::Recipients => "10 recipients",
            Self::Idle => "idle",
        }
    }

    /// Octets of a message.
    pub fn size(self) -> usize {
        match self {
            Self::Medium => 64 << 10,
            Self::Large => 1 << 20,
            _ => 4 << 10,
        }
    }

    /// Recipients of a message.
    pub fn recipient_count(self) -> u32 {
        if self == Self::Recipients { 10 } else { 1 }
    }

    /// Messages after which a connection is replaced.
    pub fn messages_per_connection(self) -> Option<u32> {
        (self == Self::New).then_some(1)
    }

    /// When commands go ahead of replies.
    pub fn pipelining(self) -> Pipelining {
        match self {
            Self::New | Self::Reused | Self::Idle => Pipelining::Never,
            _ => Pipelining::Announced,
        }
    }

    /// Connections at once, of the `most` that are asked for: large texts fill a server with fewer.
    pub fn connection_count(self, most: usize) -> usize {
        const LARGE_COUNT: usize = 16;
        if self == Self::Large { most.min(LARGE_COUNT) } else { most }
    }
}
