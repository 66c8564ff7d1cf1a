// SPDX-License-Identifier: GPL-2.0-only

//! A module-wide limit on log lines that packets can cause.

use crate::bindings;

/// Whether another line may be written now.
pub(crate) fn allowed() -> bool {
    // SAFETY: takes nothing, and works in any context.
    unsafe { bindings::pdmv2_log_allowed() }
}
