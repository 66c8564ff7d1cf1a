// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! From a pair secret to the keys of a flow, and the log of pair secrets.

pub mod keylog;
pub mod schedule;
