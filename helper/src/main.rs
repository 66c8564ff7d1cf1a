// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! The `pdmv2` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    pdmv2::cli::main()
}
