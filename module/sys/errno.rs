// SPDX-License-Identifier: GPL-2.0-only

//! Error numbers to which the kernel crate of Linux 7.2 gives no names.

use crate::bindings;
use kernel::prelude::*;

fn error(number: u32) -> Error {
    Error::from_errno(-(number as i32))
}

/// Operation already in progress.
pub(crate) fn ealready() -> Error {
    error(bindings::EALREADY)
}

/// Not a data message.
pub(crate) fn ebadmsg() -> Error {
    error(bindings::EBADMSG)
}

/// Disk quota exceeded: of what a user may have.
pub(crate) fn edquot() -> Error {
    error(bindings::EDQUOT)
}

/// Operation not supported.
pub(crate) fn eopnotsupp() -> Error {
    error(bindings::EOPNOTSUPP)
}

/// Stale.
pub(crate) fn estale() -> Error {
    error(bindings::ESTALE)
}
