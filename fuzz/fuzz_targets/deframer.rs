// SPDX-License-Identifier: GPL-2.0-only OR MIT
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| pdmv2_fuzz::run("deframer", input));
