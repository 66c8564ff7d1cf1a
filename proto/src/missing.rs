// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Options that stay away from a flow whose peer sent them before (EPOCH section 7.3; docs/protocol.md, section 6).
//!
//! A peer may leave some packets without, by sampling for one. So a run without options is held against what came before
//! it: options are missing once it is [`LONG`] times as long as there were packets to an option. Before [`FEW`] have come,
//! none is expected.

/// How many times as long as usual a run without options is when they are missing.
pub const LONG: u64 = 16;
/// Options that have to have come before any is expected.
pub const FEW: u32 = 4;

/// Options after which what is longer ago counts half.
const MANY: u32 = 64;

/// How often options came, and the run without them that a flow is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    packets: u32,
    options: u32,
    run: u32,
}

/// Options are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Packets that count as missing their option from now on: the whole run once it is known for one, then each more.
    pub packets: u32,
    /// Packets in the run, where that is to be told: once it is known, and each time it is twice as long.
    pub tell: Option<u32>,
}

impl Missing {
    /// A packet came with an option.
    pub fn with(&mut self) {
        if self.options >= MANY {
            (self.packets, self.options) = (self.packets / 2, self.options / 2);
        }
        self.packets = self.packets.saturating_add(self.run).saturating_add(1);
        self.options = self.options.saturating_add(1);
        self.run = 0;
    }

    /// A packet came without an option.
    pub fn without(&mut self) -> Option<Gap> {
        self.run = self.run.saturating_add(1);
        if self.options < FEW {
            return None;
        }
        let long = LONG.saturating_mul(u64::from(self.packets)).div_ceil(u64::from(self.options.max(1)));
        let (run, long) = (u64::from(self.run), long.max(1));
        let (times, rest) = (run.checked_div(long)?, run.checked_rem(long)?);
        let tell = (rest == 0 && times.is_power_of_two()).then_some(self.run);
        match times {
            0 => None,
            _ if run == long => Some(Gap { packets: self.run, tell }),
            _ => Some(Gap { packets: 1, tell }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::vec::Vec;

    /// Runs of packets with (`true`) and without an option; what was counted as missing, and the runs told.
    fn counted(runs: &[(bool, u32)]) -> (u32, Vec<u32>) {
        let (mut missing, mut count, mut told) = (Missing::default(), 0, Vec::new());
        for (with, length) in runs {
            for _ in 0..*length {
                if *with {
                    missing.with();
                } else if let Some(gap) = missing.without() {
                    count += gap.packets;
                    told.extend(gap.tell);
                }
            }
        }
        (count, told)
    }

    #[test]
    fn where_every_packet_had_one() {
        assert_eq!(counted(&[(true, 5), (false, 15)]), (0, Vec::from([])));
        assert_eq!(counted(&[(true, 5), (false, 16)]), (16, Vec::from([16])));
        assert_eq!(counted(&[(true, 5000), (false, 70)]), (70, Vec::from([16, 32, 64])));
    }

    #[test]
    fn an_option_ends_a_run_which_counts_as_usual_from_then_on() {
        assert_eq!(counted(&[(true, 5), (false, 15), (true, 1), (false, 15)]), (0, Vec::from([])));
        // 6 of 21 packets had one
        assert_eq!(counted(&[(true, 5), (false, 15), (true, 1), (false, 55)]), (0, Vec::from([])));
        assert_eq!(counted(&[(true, 5), (false, 15), (true, 1), (false, 56)]), (56, Vec::from([56])));
        // and what is long ago counts no more
        assert_eq!(counted(&[(true, 5), (false, 15), (true, 1000), (false, 16)]).0, 16);
    }

    #[test]
    fn where_the_peer_samples() {
        for every in [2, 10, 100, 10_000] {
            let mut runs = Vec::new();
            for _ in 0..200 {
                runs.extend([(true, 1), (false, every - 1)]);
            }
            assert_eq!(counted(&runs), (0, Vec::from([])), "{every}");
            runs.push((false, 14 * every));
            assert_eq!(counted(&runs), (0, Vec::from([])), "{every}");
            runs.push((false, 2 * every));
            let (count, told) = counted(&runs);
            assert_eq!((count, told.len()), (17 * every - 1, 1), "{every}");
        }
    }

    #[test]
    fn where_little_is_known() {
        assert_eq!(counted(&[(false, 100)]), (0, Vec::from([])));
        assert_eq!(counted(&[(true, 3), (false, 100)]), (0, Vec::from([])));
    }

    #[test]
    fn no_count_overflows() {
        let mut missing = Missing { run: u32::MAX - 1, packets: u32::MAX, options: FEW };
        for _ in 0..3 {
            let _ = missing.without();
        }
        assert_eq!(missing.run, u32::MAX);
        missing.with();
        assert_eq!((missing.packets, missing.run), (u32::MAX, 0));
    }
}
