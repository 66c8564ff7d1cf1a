// SPDX-License-Identifier: GPL-2.0-only

//! PDMv2: encrypted IPv6 performance and diagnostic metrics.
//!
//! The way of a packet out is `output.rs`, in is `input.rs`; the way of a key is `netlink/secret.rs` or `netlink/key.rs`,
//! `secret.rs`, `flow.rs`, `key.rs`. `docs/architecture.md` draws both.

use kernel::prelude::*;

mod account;
mod acquire;
mod association;
mod bindings;
mod counters;
mod event;
mod flow;
mod flow_table;
mod input;
mod key;
mod limits;
mod namespace;
mod netlink;
mod output;
mod pending;
mod policy;
mod protection;
// The protocol core serves the helper too, so that not all of it is used here.
#[allow(dead_code, unreachable_pub)]
#[path = "../proto/src/lib.rs"]
mod proto;
mod remembered;
mod secret;
#[cfg(pdmv2_debug)]
mod selftest;
mod statistics;
mod sys;
mod tally;

module! {
    type: Pdmv2,
    name: "pdmv2",
    authors: ["The PDMv2 for Linux developers"],
    description: "IPv6 Performance and Diagnostic Metrics, version 2 (PDMv2)",
    license: "GPL v2",
    params: {
        option_type: u8 {
            default: 15,
            description: "Type of the destination option (RFC 8250: 15)",
        },
    },
}

/// The option type in use.
pub(crate) fn option_type() -> u8 {
    // Linux 7.2 lends the value, 7.3 copies it.
    *core::borrow::Borrow::<u8>::borrow(&module_parameters::option_type.value())
}

/// The loaded module; its parts are dropped in this order.
struct Pdmv2 {
    _statistics: sys::sysfs::Directory,
    _forked: sys::notifier::Forked,
    _family: sys::genl::Family,
    _namespaces: sys::pernet::Registration,
    _remembered: Remembered,
}

/// Clears the memory of secrets when the module goes.
struct Remembered;

impl Drop for Remembered {
    fn drop(&mut self) {
        remembered::forget();
    }
}

impl kernel::Module for Pdmv2 {
    fn init(module: &'static ThisModule) -> Result<Self> {
        if !proto::wire::option_type_is_usable(option_type()) {
            pr_err!(
                "option_type={} is assigned to another option or asks for more than to be skipped\n",
                option_type()
            );
            return Err(EINVAL);
        }
        sys::memory::init();
        // SAFETY: first, and once.
        unsafe { remembered::init() };
        #[cfg(pdmv2_debug)]
        selftest::run()?;
        let namespaces = sys::pernet::Registration::new::<namespace::Namespace>()?;
        let family = sys::genl::Family::register(netlink::commands()?, module)?;
        Ok(Self {
            _statistics: statistics::directory()?,
            _forked: sys::notifier::Forked::register(stop_sending_everywhere)?,
            _family: family,
            _namespaces: namespaces,
            _remembered: Remembered,
        })
    }
}

/// This machine may be one of two now: no key may be sent under that the other one has.
fn stop_sending_everywhere() {
    pr_info!("all sending keys are wiped, as the machine was forked or is put to sleep; hosts will negotiate anew\n");
    sys::pernet::for_each::<namespace::Namespace>(namespace::Namespace::stop_sending);
}
