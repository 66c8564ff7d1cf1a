// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Registration: Primaries, and the Secondaries that get their secrets from them (docs/protocol.md, section 15). Without
//! I/O, but for the [`store`], and without a clock.
//!
//! ```text
//!    PC  <--------- PairMasterSecret, lists, progress --------->  PS            primary/
//!    ^                                                             ^
//!    |  join, PREPARED, polls          lists, secrets, ACTIVATE    |            message/
//!    v                                                             v
//!    SC  <--------------------- options ----------------------->  SS            secondary/
//! ```
//!
//! - [`schedule`]: the secrets; [`group`], [`lists`], [`select`]: who has which with whom
//! - [`lease`], [`store`]: which epochs were given to whom, over restarts
//! - [`message`], [`transfer`]: what is said
//! - [`primary`], [`secondary`]: the state machines; [`jitter`]: what spreads them in time
//!
//! # What ties it to the world
//!
//! Both machines take events and put [`Output`](primary::Output)s and [`Action`](secondary::Action)s in a queue. After
//! each call the queue is to be emptied and carried out **in order**: what is said to a Primary ("PREPARED") holds only
//! when what stands before it in the queue (an installed secret) was done. `now` is the time since boot that counts
//! suspend ([`crate::clock::since_boot`]); `tick` is to be called once a second; entropy is for jitter only.
//!
//! Sessions are TLS 1.3 with pinned keys, as for the negotiation, in the same framing. Between two Primaries one session
//! carries the negotiation's messages and these ([`message::is_registration`] tells them apart by their numbers).
//!
//! | event | Primary | Secondary |
//! |---|---|---|
//! | a session with that key is established | `peer_connected`, or `member_connected` (nothing is said until its join) | `connected` |
//! | a message came | `receive`; on an error close the session | `receive`, likewise |
//! | a session ended | `disconnected` | `disconnected` |
//! | a negotiation for a pairing succeeded ([`Purpose::Master`](crate::negotiate::Purpose)) | `negotiated` | |
//! | the operator changed a list | `change_clients`, `change_servers`, `set_group`, `remove_group` | |
//! | sending keys were wiped (the module's event) | `forked`: this machine may be one of two | `wiped` |
//! | an option authenticated under a secret (the module's event) | | `authenticated` |
//! | the module's highest epoch of a secret | | `used`, each few seconds |
//! | packets go to, or come from, an address without a secret | | `want`; `unwant` when they no longer do |
//! | keys of Identity Based are to be had; a validity period begins | `set_generator`; `advance_period` of PS | |
//! | identity-based secrets were agreed on, as [`Action::Agree`](secondary::Action::Agree) asked | | `agreed` |
//!
//! What the module is told of a Secondary's actions (`docs/netlink/pdmv2.yaml`):
//!
//! | action | requests |
//! |---|---|
//! | `Install` | association-set for the two addresses; secret-add, with the range as first and last epoch; the receive keys of live flows |
//! | `Send` | secret-extend, where the range ends later than the one before; secret-activate |
//! | `StopSending` | nothing, where another secret of the association was activated; otherwise secret-del and secret-add without a range, as it is still received under |
//! | `Remove` | secret-del; association-del after the last |
//!
//! Generations are numbered anew for the module, upward in each association: those of PairMasterSecrets may come again. A
//! client's PCS is the same for all servers of a group. The module remembers a secret by its identifier and the local
//! prefix, so that secrets of one identifier and one local address belong in one association, with several remote addresses.

pub mod error;
pub mod group;
pub mod ibe;
pub mod jitter;
pub mod lease;
pub mod lists;
pub mod message;
pub mod primary;
pub mod schedule;
pub mod secondary;
pub mod select;
pub mod store;
pub mod transfer;

use std::time::Duration;

/// Most addresses of a Secondary.
pub const ADDRESSES_MAX: usize = 16;

/// How long PREPARE may take: "or 60 s passed".
pub const PREPARE_MAX: Duration = Duration::from_secs(60);

/// How long an older PairMasterSecret is still received under once the newer is sent under.
pub const OVERLAP: Duration = crate::daemon::keeper::OVERLAP;
