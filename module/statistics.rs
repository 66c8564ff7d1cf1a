// SPDX-License-Identifier: GPL-2.0-only

//! Module-wide statistics in `/sys/kernel/pdmv2/`, one value a file.

use crate::account;
use crate::counters::{module, COUNT_NAMES};
use crate::proto::uapi::{Refusal, Skip};
use crate::sys::sysfs::Directory;
use kernel::prelude::*;
use kernel::str::CString;

/// `skipped-no-key` becomes `skipped_no_key`.
fn file_name(prefix: &str, name: &str) -> Result<CString> {
    let mut bytes = [0u8; 64];
    let mut len = 0;
    for (to, from) in bytes.iter_mut().zip([prefix, name].into_iter().flat_map(str::bytes)) {
        *to = if from == b'-' { b'_' } else { from };
        len += 1;
    }
    let text = core::str::from_utf8(bytes.get(..len).ok_or(EINVAL)?).map_err(|_| EINVAL)?;
    Ok(CString::try_from_fmt(kernel::prelude::fmt!("{}", text))?)
}

/// Makes the directory.
pub(crate) fn directory() -> Result<Directory> {
    let mut directory = Directory::new(c"pdmv2")?;
    for (index, name) in COUNT_NAMES.into_iter().enumerate() {
        directory.add(file_name("", name)?, module::get, index)?;
    }
    for reason in Skip::ALL {
        directory.add(file_name("skipped_", reason.name())?, module::skipped, reason as usize)?;
    }
    for reason in Refusal::ALL {
        directory.add(file_name("refused_", reason.name())?, module::refused, reason as usize)?;
    }
    directory.add(file_name("", "memory")?, |_| account::host_used(), 0)?;
    Ok(directory)
}
