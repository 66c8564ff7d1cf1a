// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! What a flow in use remembers of its recent packets, beyond the scalars of [`super::flow::Flow`]. A flow that rests
//! gives it up, and makes it anew when it goes on.

use super::histogram::Histogram;
use super::missing::Missing;
use super::send_times::SendTimes;
use super::window::Window;

/// The memory of a flow in use.
#[derive(Debug, Default)]
pub struct Recent {
    /// When packets were sent.
    pub send_times: SendTimes,
    /// Which of the peer's PSNs arrived.
    pub window: Window,
    /// How long the peer's options have stayed away.
    pub missing: Missing,
    /// Round-trip times of the network by their length.
    pub rtt: Histogram,
    /// The peer's times by their length.
    pub server_delay: Histogram,
}
