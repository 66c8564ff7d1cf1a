// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What one flow remembers to measure itself (RFC 8250 section 3; docs/protocol.md, section 2): the scalars that stay for
//! the life of the flow. Send times, arrivals and histograms are in [`Recent`], which a resting flow does without.

use super::delay::Delay;
use super::psn::{SendCounter, Stamp};
use super::recent::Recent;
use super::sequence::{Arrival, Sequence};
use super::time::Delta;
use super::wire::Echo;

/// A flow's measurements, both directions. Times are monotonic nanoseconds given by the caller.
#[derive(Debug)]
pub struct Flow {
    /// Where PSNTP and epoch come from.
    pub counter: SendCounter,
    /// When the last option accepted on the flow arrived, in arrival order; meaningful once `has_received`.
    received_at: u64,
    /// When an option was sent last; meaningful once `has_sent`.
    sent_at: u64,
    /// Round-trip time of the network.
    pub rtt: Delay,
    /// The peer's time from our payload to its own.
    pub server_delay: Delay,
    /// Loss, reordering and duplication of what the peer sent.
    pub sequence: Sequence,
    /// Deltas that came out negative and were taken as 0.
    pub negative: u32,
    /// From the option sent last before the last one received to its arrival; 0 if none was sent.
    dtls: Delta,
    /// The PSN received last.
    psnlr: u16,
    has_received: bool,
    has_sent: bool,
    /// The peer named a PSN of ours.
    pub verified: bool,
}

/// What an accepted option turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its place among the PSNs of the flow.
    pub arrival: Arrival,
    /// Deltas of this packet that came out negative.
    pub negative: u32,
    /// The round-trip time it gave, ns.
    pub rtt: Option<u64>,
    /// The server delay it gave, ns.
    pub server_delay: Option<u64>,
}

impl Flow {
    /// A flow that has seen nothing yet and sends from this counter.
    pub fn new(counter: SendCounter) -> Self {
        Self {
            counter,
            received_at: 0,
            sent_at: 0,
            rtt: Delay::default(),
            server_delay: Delay::default(),
            sequence: Sequence::default(),
            negative: 0,
            dtls: Delta::ZERO,
            psnlr: 0,
            has_received: false,
            has_sent: false,
            verified: false,
        }
    }

    /// What a flow that begins, or goes on after a rest, remembers of recent packets.
    pub fn recent(&self) -> Recent {
        Recent { window: self.sequence.window(), ..Recent::default() }
    }

    /// What a packet sent at `now` says of the last received one: "DTLR(n) = send(n) - receive(last received)";
    /// all fields 0 while nothing was received.
    pub fn echo(&self, now: u64) -> Echo {
        if !self.has_received {
            return Echo::default();
        }
        Echo { psnlr: self.psnlr, dtlr: Delta::from_ns(now.saturating_sub(self.received_at)), dtls: self.dtls }
    }

    /// Hands out the pair for a packet that is certain to be sent at `now`, and remembers it.
    pub fn sent(&mut self, now: u64, payload: bool, recent: Option<&mut Recent>) -> Stamp {
        let stamp = self.counter.take();
        (self.sent_at, self.has_sent) = (now, true);
        if let Some(recent) = recent {
            recent.send_times.sent(stamp.psn, now, payload);
        }
        stamp
    }

    /// Takes in an accepted option that arrived at `now`: its PSN, what it says of our packets, and whether its packet
    /// carries upper-layer payload. A duplicate changes nothing but its count.
    pub fn received(
        &mut self,
        psn: u16,
        echo: &Echo,
        now: u64,
        payload: bool,
        mut recent: Option<&mut Recent>,
    ) -> Received {
        let arrival = self.sequence.arrived(psn, recent.as_deref_mut().map(|recent| &mut recent.window));
        let mut result = Received { arrival, negative: 0, rtt: None, server_delay: None };
        if arrival == Arrival::Duplicate {
            return result;
        }
        // The first option a peer sends says 0, 0, 0: it has received nothing.
        if let Some(recent) = recent.filter(|_| *echo != Echo::default()) {
            if let Some(named) = recent.send_times.named(echo.psnlr) {
                self.verified = true;
                let (elapsed, dtlr) = (now.saturating_sub(named.sent_at), echo.dtlr.to_ns());
                if dtlr > elapsed {
                    result.negative = 1;
                }
                let rtt = elapsed.saturating_sub(dtlr);
                self.rtt.add(rtt);
                recent.rtt.add(rtt);
                result.rtt = Some(rtt);
                if payload && named.payload {
                    recent.send_times.take_payload(&named);
                    self.server_delay.add(dtlr);
                    recent.server_delay.add(dtlr);
                    result.server_delay = Some(dtlr);
                }
            }
        }
        self.dtls = match now.checked_sub(self.sent_at) {
            Some(since_sent) if self.has_sent => Delta::from_ns(since_sent),
            None if self.has_sent => {
                result.negative = result.negative.saturating_add(1);
                Delta::ZERO
            }
            _ => Delta::ZERO,
        };
        (self.psnlr, self.received_at, self.has_received) = (psn, now, true);
        self.negative = self.negative.saturating_add(result.negative);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A flow in use.
    struct Pair(Flow, Recent);

    fn flow(first: u16) -> Pair {
        let flow = Flow::new(SendCounter::new(first, 0));
        let recent = flow.recent();
        Pair(flow, recent)
    }

    impl Pair {
        fn echo(&self, now: u64) -> Echo {
            self.0.echo(now)
        }

        fn sent(&mut self, now: u64, payload: bool) -> Stamp {
            self.0.sent(now, payload, Some(&mut self.1))
        }

        fn received(&mut self, psn: u16, echo: &Echo, now: u64, payload: bool) -> Received {
            self.0.received(psn, echo, now, payload, Some(&mut self.1))
        }
    }

    /// The exchange of RFC 8250 section 3.2.2 and appendix A: host A sends, host B takes 3 s and answers, A takes 12 s.
    #[test]
    fn rfc_8250_example() {
        let (mut a, mut b) = (flow(25), flow(12));
        let at = |s: u64| s * 1000 * MS;

        assert_eq!(a.echo(at(10)), Echo::default());
        assert_eq!(a.sent(at(10), true).psn, 25);
        b.received(25, &Echo::default(), at(14), true);

        let echo = b.echo(at(17));
        assert_eq!((echo.psnlr, echo.dtlr, echo.dtls), (25, Delta { value: 0xA688, scale: 46 }, Delta::ZERO));
        assert_eq!(b.sent(at(17), true).psn, 12);
        a.received(12, &echo, at(21), true);
        // elapsed 11 s, of which 3 s were the server's
        assert_eq!({ a.0.rtt.last }, at(11) - echo.dtlr.to_ns());
        assert_eq!({ a.0.server_delay.last }, echo.dtlr.to_ns());

        let echo = a.echo(at(33));
        assert_eq!(echo.psnlr, 12);
        assert_eq!(echo.dtlr, Delta { value: 0xA688, scale: 48 });
        assert_eq!(echo.dtls, Delta::from_ns(at(11)));
        assert_eq!(a.sent(at(33), true).psn, 26);
    }

    /// TCP acknowledges at once without payload; the server's answer comes later.
    #[test]
    fn quick_acks_are_no_server_delay() {
        let (mut a, mut b) = (flow(1), flow(100));
        a.sent(0, true);
        b.received(1, &Echo::default(), 20 * MS, true);
        let quick = b.echo(20 * MS);
        let ack = b.sent(20 * MS, false).psn;
        let answer = b.echo(25 * MS);
        let data = b.sent(25 * MS, true).psn;
        a.received(ack, &quick, 40 * MS, false);
        assert_eq!((a.0.server_delay.samples, a.0.rtt.last / MS), (0, 40));
        a.received(data, &answer, 45 * MS, true);
        assert_eq!((a.0.server_delay.samples, (a.0.server_delay.last + MS / 2) / MS), (1, 5));
        assert_eq!((a.0.rtt.last + MS / 2) / MS, 40);
        // the same PSNLR yields no second sample
        let again = b.echo(30 * MS);
        let more = b.sent(30 * MS, true).psn;
        a.received(more, &again, 50 * MS, true);
        assert_eq!(({ a.0.server_delay.samples }, { a.0.rtt.samples }), (1, 3));
    }

    #[test]
    fn unknown_psnlr_verifies_nothing() {
        let mut a = flow(1);
        let echo = Echo { psnlr: 77, dtlr: Delta::from_ns(5), dtls: Delta::ZERO };
        a.received(5, &echo, 10, true);
        assert!(!a.0.verified);
        assert_eq!({ a.0.rtt.samples }, 0);
        a.sent(20, true);
        a.received(6, &Echo { psnlr: 1, ..echo }, 30, true);
        assert!(a.0.verified);
    }

    #[test]
    fn negative_deltas_are_zero_and_counted() {
        let mut a = flow(1);
        a.sent(100, true);
        let r = a.received(5, &Echo { psnlr: 1, dtlr: Delta::from_ns(1000), dtls: Delta::ZERO }, 150, true);
        assert_eq!((r.negative, { a.0.rtt.last }, a.0.negative), (1, 0, 1));
        let r = a.received(6, &Echo::default(), 50, true);
        assert_eq!(r.negative, 1);
        assert_eq!(a.echo(60).dtls, Delta::ZERO);
    }

    #[test]
    fn a_duplicate_changes_nothing_but_its_count() {
        let mut a = flow(1);
        a.received(5, &Echo::default(), 10, true);
        let r = a.received(5, &Echo::default(), 99, true);
        assert_eq!(r.arrival, Arrival::Duplicate);
        assert_eq!(a.echo(110).dtlr, Delta::from_ns(100));
    }

    /// A flow that rests keeps its scalars, and neither samples nor takes anything twice when it goes on.
    #[test]
    fn a_flow_goes_on_after_a_rest() {
        let mut a = flow(1);
        a.sent(0, true);
        a.received(7, &Echo { psnlr: 1, dtlr: Delta::from_ns(MS), dtls: Delta::ZERO }, 3 * MS, true);
        assert_eq!(({ a.0.rtt.samples }, a.1.rtt.counts().iter().sum::<u32>()), (1, 1));
        let mut flow = a.0;
        assert_eq!(flow.received(7, &Echo::default(), 4 * MS, true, None).arrival, Arrival::Duplicate);
        let mut recent = flow.recent();
        assert_eq!(flow.received(7, &Echo::default(), 5 * MS, true, Some(&mut recent)).arrival, Arrival::Duplicate);
        let echo = Echo { psnlr: 1, dtlr: Delta::from_ns(MS), dtls: Delta::ZERO };
        assert_eq!(flow.received(8, &echo, 6 * MS, true, Some(&mut recent)).arrival, Arrival::Forward);
        assert_eq!(({ flow.rtt.samples }, flow.echo(6 * MS).psnlr), (1, 8));
    }

    /// The scalars are small: a million flows have them.
    #[test]
    fn size() {
        assert!(core::mem::size_of::<Flow>() <= 128, "{}", core::mem::size_of::<Flow>());
        assert!(core::mem::size_of::<Recent>() <= 1024, "{}", core::mem::size_of::<Recent>());
    }
}
