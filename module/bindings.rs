// SPDX-License-Identifier: GPL-2.0-only

//! Raw bindings: the kernel crate's, and what a private bindgen run adds. Only `sys` uses them.

#![allow(
    clippy::all,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused_imports
)]

pub(crate) use kernel::bindings::*;

include!(env!("PDMV2_BINDINGS"));
