// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The clock that lifetimes run on.

use std::time::Duration;

use rustix::time::{clock_gettime, ClockId};

/// Time since boot, time suspended included (docs/protocol.md, section 9: never wall time).
pub fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.max(0) as u64, now.tv_nsec.clamp(0, 999_999_999) as u32)
}
