//! Machines that go round in circles: they load a loader that asks for its script, that loads
//! the loader.
//!
//! A machine is told by its Ethernet address and by where it asks from: whoever asks in another's name, from
//! elsewhere, keeps nobody from booting.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::model::MacAddr;
use crate::status::{At, for_people};

/// How often a machine may ask for a script within [`WINDOW`] without a sign of its kernel.
pub const MOST: usize = 6;

/// The time in which it may.
pub const WINDOW: Duration = Duration::from_secs(60);

/// How long a machine that went round is told to stop.
pub const HOLD: Duration = Duration::from_secs(300);

/// The most machines that are watched.
const MAX_WATCHED: usize = 131_072;

/// Counts questions.
#[derive(Debug, Default)]
pub struct Chains {
    asked: BTreeMap<(MacAddr, Ipv4Addr), Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    /// The last [`MOST`] times.
    times: VecDeque<At>,
    held_until: Option<At>,
}

/// What was seen of a machine that goes round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loop {
    /// How often it has asked.
    pub times: usize,
    /// In which time.
    pub within: Duration,
}

impl Loop {
    /// For people.
    pub fn words(&self) -> String {
        format!(
            "asked for its boot script {} times within {} without starting a kernel; told to stop",
            self.times,
            for_people(self.within)
        )
    }
}

impl Chains {
    /// A machine asks for a script. An answer means that it goes round.
    pub fn ask(&mut self, at: At, mac: MacAddr, from: Ipv4Addr) -> Option<Loop> {
        let who = (mac, from);
        if self.asked.len() >= MAX_WATCHED && !self.asked.contains_key(&who) {
            self.asked.retain(|_, asked| asked.is_fresh(at));
            if self.asked.len() >= MAX_WATCHED {
                // That many at once are no machines; the real ones still boot.
                return None;
            }
        }
        let asked = self.asked.entry(who).or_default();
        if asked.times.len() == MOST {
            asked.times.pop_front();
        }
        asked.times.push_back(at);
        let found = Loop {
            times: asked.times.len(),
            within: asked
                .times
                .front()
                .map_or(Duration::ZERO, |first| at.since(*first)),
        };
        if found.times == MOST && found.within <= WINDOW {
            asked.held_until = Some(at.plus(HOLD));
        }
        asked
            .held_until
            .is_some_and(|until| at < until)
            .then_some(found)
    }

    /// A kernel runs on the machine: it does not go round, wherever its loader has asked from.
    pub fn started(&mut self, mac: MacAddr) {
        let all = (mac, Ipv4Addr::UNSPECIFIED)..=(mac, Ipv4Addr::BROADCAST);
        while let Some((&who, _)) = self.asked.range(all.clone()).next() {
            self.asked.remove(&who);
        }
    }

    /// What is offered has changed: whoever was told to stop may try again.
    pub fn clear(&mut self) {
        self.asked.clear();
    }
}

impl Asked {
    fn is_fresh(&self, at: At) -> bool {
        let lately = |last: &At| at.since(*last) <= WINDOW;
        self.times.back().is_some_and(lately) || self.held_until.is_some_and(|until| at < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(number: u32) -> MacAddr {
        let [a, b, c, d] = number.to_be_bytes();
        MacAddr::new([2, 0, a, b, c, d]).expect("an address of one machine")
    }

    const HERE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);

    fn seconds(seconds: u64) -> At {
        At(seconds * 1000)
    }

    #[test]
    fn who_asks_again_and_again_is_told_to_stop() {
        let mut chains = Chains::default();
        for at in 0..5 {
            assert_eq!(chains.ask(seconds(at * 4), mac(1), HERE), None);
        }
        let found = chains
            .ask(seconds(20), mac(1), HERE)
            .expect("six times in 20 s");
        assert_eq!((found.times, found.within), (6, Duration::from_secs(20)));
        assert_eq!(
            chains.ask(seconds(20), mac(2), HERE),
            None,
            "another machine"
        );
        assert!(
            chains.ask(seconds(310), mac(1), HERE).is_some(),
            "it is held"
        );
        assert_eq!(chains.ask(seconds(400), mac(1), HERE), None);
    }

    #[test]
    fn who_asks_now_and_then_or_starts_in_between_does_not_go_round() {
        let mut chains = Chains::default();
        for at in 0..100 {
            assert_eq!(chains.ask(seconds(at * 13), mac(1), HERE), None);
        }
        for at in 0..100 {
            assert_eq!(chains.ask(seconds(5000 + at), mac(2), HERE), None);
            chains.started(mac(2));
        }
    }

    #[test]
    fn whoever_asks_in_another_s_name_stops_only_himself() {
        let mut chains = Chains::default();
        let elsewhere = Ipv4Addr::new(10, 77, 0, 66);
        for at in 0..100 {
            chains.ask(seconds(at), mac(1), elsewhere);
        }
        assert!(chains.ask(seconds(100), mac(1), elsewhere).is_some());
        assert_eq!(chains.ask(seconds(100), mac(1), HERE), None);
        chains.started(mac(1));
        assert_eq!(chains.asked.len(), 0);
    }

    #[test]
    fn memory_is_bounded_and_machines_still_boot() {
        let mut chains = Chains::default();
        let most = u32::try_from(MAX_WATCHED).expect("it is small");
        for number in 0..most + 100 {
            assert_eq!(chains.ask(seconds(1), mac(number), HERE), None);
        }
        assert_eq!(chains.asked.len(), MAX_WATCHED);
        chains.ask(seconds(1000), mac(most + 100), HERE);
        assert_eq!(chains.asked.len(), 1);
    }
}
