// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! `pdmv2 genkey`

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::{print, CliError};
use crate::files::create_secret;
use crate::identity::PrivateKey;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write the key to this new file, mode 0600, instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Write PKCS#8 in PEM, as OpenSSL takes it to ask for a certificate, instead of a line of base64.
    #[arg(long)]
    pem: bool,
}

pub fn run(args: &Args) -> Result<(), CliError> {
    let key = PrivateKey::generate().map_err(|error| CliError::Key("genkey".into(), error))?;
    let text = match args.pem {
        true => key.to_pem(),
        false => {
            let key = key.to_base64();
            let mut line = Zeroizing::new(String::with_capacity(key.len() + 1));
            line.push_str(&key);
            line.push('\n');
            line
        }
    };
    match &args.output {
        Some(path) => Ok(create_secret(path, text.as_bytes())?),
        None => print(&text),
    }
}
