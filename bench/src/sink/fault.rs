//! How a sink misbehaves: late, refusing, resetting, standing still; drawn from a seed.

use std::time::Duration;

use fastrand::Rng;

use crate::load::session::Stage;
use crate::units::parse_duration;

/// What a sink does wrong; by default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Of all that is drawn; each connection draws from it in its own way, by its number.
    pub seed: u64,
    /// The reply to the end of data comes later by a time from here to there.
    pub delay: Option<Delay>,
    /// What is refused.
    pub refusals: Vec<Refusal>,
    /// What is answered by a reset of the connection.
    pub resets: Vec<Reset>,
    /// When the whole sink stands still.
    pub stall: Option<Stall>,
}

/// A time drawn evenly between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields name themselves")]
pub struct Delay {
    pub from: Duration,
    pub to: Duration,
}

/// So many in a thousand replies at `stage` are refusals with `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields name themselves")]
pub struct Refusal {
    pub stage: Stage,
    pub code: u16,
    pub per_mille: u16,
}

/// So many in a thousand replies at `stage` are resets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields name themselves")]
pub struct Reset {
    pub stage: Stage,
    pub per_mille: u16,
}

/// Nothing is done for `length` at each multiple of `every` since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields name themselves")]
pub struct Stall {
    pub length: Duration,
    pub every: Duration,
}

/// What a reply turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draw {
    AsItShould,
    Refuse(u16),
    Reset,
}

impl Faults {
    /// Draws what the reply at `stage` is; resets before refusals, each in the order given.
    pub(super) fn draw(&self, stage: Stage, rng: &mut Rng) -> Draw {
        for reset in self.resets.iter().filter(|reset| reset.stage == stage) {
            if rng.u16(..1000) < reset.per_mille {
                return Draw::Reset;
            }
        }
        for refusal in self.refusals.iter().filter(|refusal| refusal.stage == stage) {
            if rng.u16(..1000) < refusal.per_mille {
                return Draw::Refuse(refusal.code);
            }
        }
        Draw::AsItShould
    }

    /// Draws how much later the reply to an end of data comes.
    pub(super) fn draw_delay(&self, rng: &mut Rng) -> Option<Duration> {
        let delay = self.delay?;
        Some(delay.from + (delay.to - delay.from).mul_f64(rng.f64()))
    }
}

impl std::str::FromStr for Delay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let (from, to) = (parse_duration(from)?, parse_duration(to)?);
        if from > to {
            return Err(format!("`{text}`: write the shorter time first, as in 1ms-20ms"));
        }
        Ok(Self { from, to })
    }
}

impl std::str::FromStr for Refusal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}`: write stage, reply code and per mille, as in rcpt:450:20");
        let (stage, rest) = text.split_once(':').ok_or_else(bad)?;
        let (code, per_mille) = rest.split_once(':').ok_or_else(bad)?;
        let code = code.parse().ok().filter(|code| (400..600).contains(code)).ok_or_else(bad)?;
        Ok(Self { stage: stage_of(stage)?, code, per_mille: per_mille_of(per_mille)? })
    }
}

impl std::str::FromStr for Reset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}`: write stage and per mille, as in end:5");
        let (stage, per_mille) = text.split_once(':').ok_or_else(bad)?;
        Ok(Self { stage: stage_of(stage)?, per_mille: per_mille_of(per_mille)? })
    }
}

fn stage_of(name: &str) -> Result<Stage, String> {
    match name {
        "greeting" => Ok(Stage::Greeting),
        "ehlo" => Ok(Stage::Hello),
        "mail" => Ok(Stage::Mail),
        "rcpt" => Ok(Stage::Recipient),
        "data" => Ok(Stage::Data),
        "end" => Ok(Stage::Body),
        _ => Err(format!("`{name}` is no stage: there are greeting, ehlo, mail, rcpt, data and end")),
    }
}

fn per_mille_of(text: &str) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| *number <= 1000);
    number.ok_or_else(|| format!("`{text}`: write how many in a thousand, from 0 to 1000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_taken_as_a_person_writes_them() {
        let refusal = Refusal { stage: Stage::Recipient, code: 450, per_mille: 20 };
        assert_eq!("rcpt:450:20".parse(), Ok(refusal));
        assert_eq!("end:5".parse(), Ok(Reset { stage: Stage::Body, per_mille: 5 }));
        let (from, to) = (Duration::from_millis(1), Duration::from_millis(20));
        assert_eq!("1ms-20ms".parse(), Ok(Delay { from, to }));
        for bad in ["rcpt:450", "rcpt:250:1", "x:450:1", "rcpt:450:1001", "rcpt:450:-1", ""] {
            assert!(bad.parse::<Refusal>().is_err(), "{bad}");
        }
        assert!("2ms-1ms".parse::<Delay>().is_err() && "end:".parse::<Reset>().is_err());
    }

    #[test]
    fn draws_follow_their_odds_and_their_seed() {
        let refusals = vec![Refusal { stage: Stage::Mail, code: 451, per_mille: 100 }];
        let faults = Faults { refusals, ..Faults::default() };
        let draws = |seed| {
            let mut rng = Rng::with_seed(seed);
            let draws: Vec<bool> =
                (0..10_000).map(|_| faults.draw(Stage::Mail, &mut rng) == Draw::Refuse(451)).collect();
            draws
        };
        let count = draws(1).iter().filter(|is_refused| **is_refused).count();
        assert!((900..1100).contains(&count), "{count}");
        assert!(draws(1) == draws(1) && draws(1) != draws(2));
        assert_eq!(faults.draw(Stage::Data, &mut Rng::with_seed(1)), Draw::AsItShould);
    }
}
