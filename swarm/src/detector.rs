//! What a world asks of the members that live in it, whatever rules they follow.

use crate::random::Random;
use swim::{Incarnation, Moment};

/// One member's state machine, without IO. The world tells it the time, hands it packets, and takes what it has to send and to tell.
///
/// Members are numbered. What [`swim::Swim`] calls addresses and ids, its own implementation translates.
pub trait Detector: Sized {
    /// What all members of a group are told at their start.
    type Settings;
    /// What they send.
    type Packet: Clone;

    /// A member that knows nobody, in its first life or a later one. `None` if the settings are refused.
    fn start(settings: &Self::Settings, start: Start) -> Option<Self>;
    /// Makes it know all members of a group of so many, as if it had for long.
    fn know(&mut self, count: usize);
    /// Takes a packet. Returns whether it was refused.
    fn handle_packet(&mut self, now: Moment, from: usize, packet: Self::Packet) -> bool;
    /// Does what is due.
    fn handle_timeout(&mut self, now: Moment);
    /// When it wants to be called, at the latest.
    fn poll_timeout(&self) -> Option<Moment>;
    /// The next packet that it has to send.
    fn poll_transmit(&mut self) -> Option<Transmit<Self::Packet>>;
    /// The next change in what it believes.
    fn poll_sighting(&mut self) -> Option<Sighting>;
    /// A packet some bytes of which have changed on the way; `None` where a checksum throws it away.
    fn damaged(packet: Self::Packet, random: &mut Random) -> Option<Self::Packet>;
}

/// The start of a member.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// Its number.
    pub node: usize,
    /// How often it was started before.
    pub lives: u64,
    /// Where its random numbers come from.
    pub seed: [u8; 32],
    /// When.
    pub now: Moment,
}

/// A packet on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit<P> {
    /// To which member.
    pub to: usize,
    /// How many bytes it has.
    pub len: usize,
    /// How it goes.
    pub way: Way,
    /// What is in it.
    pub packet: P,
}

/// How something is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As a datagram.
    Datagram,
    /// On a new TCP connection.
    Connect,
    /// On the TCP connection on which it was asked for.
    Reply,
}

/// What a member comes to believe of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// The other one.
    pub subject: usize,
    /// In which incarnation. One that is declared dead twice in the same counts once.
    pub incarnation: Incarnation,
    /// What.
    pub belief: Belief,
}

/// What is believed of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belief {
    /// It is there: alive, or suspected by others.
    Present,
    /// It did not answer the probe of the one who believes it.
    Silent,
    /// It is dead.
    Dead,
}
