//! A few blocking sessions that send at a fixed rate, in lockstep: what system calls are counted under.
//!
//! The rate is far below what any server can do, so each does the same work for a message as it would alone.

use std::io::{BufRead, BufReader, Error, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::load::content::Content;
use crate::load::script::{MailShape, Script};
use crate::load::session::Piece;

/// A connection after EHLO.
#[derive(Debug)]
pub struct PacedSession {
    socket: BufReader<TcpStream>,
}

impl PacedSession {
    /// Connects and says EHLO.
    ///
    /// # Errors
    /// When the server refuses or is silent for ten seconds.
    pub fn open(target: SocketAddr, script: &Script) -> Result<Self> {
        let mut session = Self::connect(target)?;
        session.hello(script)?;
        Ok(session)
    }

    /// Connects only: its greeting is still to come.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn connect(target: SocketAddr) -> Result<Self> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let socket = TcpStream::connect(target)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket: BufReader::new(socket) })
    }

    /// Takes the greeting and says EHLO.
    ///
    /// # Errors
    /// As [`PacedSession::open`].
    pub fn hello(&mut self, script: &Script) -> Result<()> {
        self.expect_reply('2')?;
        self.say(script, Piece::Hello, '2')
    }

    /// Sends `count` messages, the first at `start`, each next one `interval` later.
    ///
    /// # Errors
    /// When one is refused or the connection ends.
    pub fn send(&mut self, script: &Script, count: u32, start: Instant, interval: Duration) -> Result<()> {
        for index in 0..count {
            let due = start + interval * index;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.say(script, Piece::Mail, '2')?;
            self.say(script, Piece::Recipient, '2')?;
            self.say(script, Piece::Data, '3')?;
            self.say(script, Piece::Body, '2')?;
        }
        Ok(())
    }

    fn say(&mut self, script: &Script, piece: Piece, class: char) -> Result<()> {
        self.socket.get_mut().write_all(&script.slices(piece, 0, &[]).concat())?;
        self.expect_reply(class)
    }

    fn expect_reply(&mut self, class: char) -> Result<()> {
        let mut line = String::new();
        loop {
            line.clear();
            self.socket.read_line(&mut line)?;
            match line.as_bytes() {
                [_, _, _, b'-', ..] if line.starts_with(class) => {}
                _ if line.starts_with(class) => return Ok(()),
                _ => return Err(Error::other(format!("the server answered {:?}", line.trim_end()))),
            }
        }
    }
}

/// How the sessions send.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Sessions.
    pub sessions: u32,
    /// Messages per second, of all sessions.
    pub rate: u32,
    /// Messages, of all sessions.
    pub count: u32,
}

impl Pace {
    /// Sends all messages over `sessions`, which take turns.
    ///
    /// # Errors
    /// When any is refused.
    pub fn run(&self, sessions: &mut [PacedSession], script: &Script) -> Result<()> {
        let interval = Duration::from_secs(1) / self.rate;
        let start = Instant::now();
        let share = self.count / self.sessions;
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0u32..)
                .zip(sessions)
                .map(|(turn, session)| {
                    scope.spawn(move || {
                        session.send(script, share, start + interval * turn, interval * self.sessions)
                    })
                })
                .collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("a paced session panicked"))
        })
    }
}

/// The script of 4 KiB messages to one recipient.
pub fn script() -> Script {
    let script = Script::new(&MailShape::of_size(4 << 10), &Content::OneSize, false, 0);
    script.expect("a text without a head line may have any size")
}
