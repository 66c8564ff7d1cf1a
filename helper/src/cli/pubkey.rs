// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! `pdmv2 pubkey`

use std::io::{self, Read};
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::{print, CliError};
use crate::files::read_secret;
use crate::identity::PrivateKey;

/// Longest standard input that is read, bytes.
const INPUT_MAX: u64 = 4096;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Read the private key from this file, mode 0600 or stricter, instead of standard input.
    #[arg(short, long, value_name = "FILE")]
    key: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<(), CliError> {
    let (text, origin) = match &args.key {
        Some(path) => (read_secret(path)?, path.display().to_string()),
        None => {
            let mut text = Zeroizing::new(String::with_capacity(INPUT_MAX as usize));
            io::stdin().lock().take(INPUT_MAX).read_to_string(&mut text)?;
            (text, "standard input".to_owned())
        }
    };
    let public = PrivateKey::from_text(&text).and_then(|key| key.public());
    print(&format!("{}\n", public.map_err(|error| CliError::Key(origin, error))?))
}
