// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Registration: Primary and Secondary hosts.

pub mod ibe;
