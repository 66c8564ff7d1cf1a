// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! docs/protocol.md, "Identity Based": two Secondaries agree on a secret, undisturbed and disturbed, under virtual
//! time. Each test is named after the requirement it shows.

mod agreement;
mod bounds;
mod crossing;
mod isolation;
mod refusals;
mod replay;
mod vectors;
mod world;
