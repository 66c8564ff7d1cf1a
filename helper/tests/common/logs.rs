// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! "Never a secret in them": what a test logs is kept, every level of it, and no key of that test may be in it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use base64::Engine;
use pdmv2::hex;
use pdmv2::keys::schedule::Prk;
use pdmv2::secret::Secret;
use pdmv2_proto::suite::Suite;
use tempfile::TempDir;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

thread_local! {
    static SECRETS: RefCell<BTreeSet<Vec<u8>>> = const { RefCell::new(BTreeSet::new()) };
    static KEY_LOGS: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

/// These bytes must not be in this test's log.
pub fn secret(bytes: &[u8]) {
    SECRETS.with_borrow_mut(|secrets| secrets.insert(bytes.to_vec()));
}

/// A file for a key log, whose secrets must not be in this test's log.
pub fn key_log() -> PathBuf {
    KEY_LOGS.with_borrow_mut(|dir| {
        let dir = dir.get_or_insert_with(|| tempfile::tempdir().unwrap());
        let number = std::fs::read_dir(dir.path()).unwrap().count();
        let path = dir.path().join(number.to_string());
        drop(pdmv2::files::append_secret(&path).unwrap());
        path
    })
}

/// Takes the secrets of a key log in.
pub fn read_key_log(text: &str) {
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let number = |field: &str| u16::from_str_radix(field, 16).unwrap();
        let suite = Suite { kem: number(fields[2]), kdf: number(fields[3]), aead: number(fields[4]) };
        let (salt, shared) = (hex::decode(fields[6]).unwrap(), hex::decode(fields[7]).unwrap());
        let prk = Prk::extract(suite, &salt, &Secret::new(shared.clone())).unwrap();
        for bytes in [&salt, &shared, prk.secret().as_bytes()] {
            secret(bytes);
        }
    }
}

/// How a log could show bytes. A part is as bad as the whole.
fn spellings(bytes: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    for part in bytes.windows(bytes.len().min(8)) {
        let (lower, list) = (hex::encode(part), format!("{part:?}"));
        all.push(lower.to_uppercase());
        all.extend([":", " ", ", ", ", 0x"].map(|between| {
            let octets: Vec<_> = part.iter().map(|byte| format!("{byte:02x}")).collect();
            octets.join(between)
        }));
        all.push(lower);
        all.push(list[1..list.len() - 1].to_owned());
        all.push(list[1..list.len() - 1].replace(", ", ","));
    }
    for skipped in 0..3.min(bytes.len()) {
        let rest = &bytes[skipped..];
        for encoded in [STANDARD.encode(rest), URL_SAFE.encode(rest)] {
            // The last group has bits of what follows.
            all.push(encoded[..(encoded.len() - 4).clamp(1, 16)].to_owned());
        }
        all.extend([STANDARD_NO_PAD.encode(rest), URL_SAFE_NO_PAD.encode(rest)]);
    }
    all
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Runs a test of which no secret may be logged: none that [`secret`] and [`key_log`] know, and no private key of
/// `common::key`. What it logged comes with its result.
pub fn checked<T>(test: impl FnOnce() -> T) -> (T, String) {
    SECRETS.with_borrow_mut(BTreeSet::clear);
    KEY_LOGS.set(None);
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(Level::TRACE).with_writer(log.clone()).with_ansi(false).finish();
    let result = tracing::subscriber::with_default(subscriber, test);
    if let Some(dir) = KEY_LOGS.take() {
        for file in std::fs::read_dir(dir.path()).unwrap() {
            read_key_log(&std::fs::read_to_string(file.unwrap().path()).unwrap());
        }
    }
    (1..=9).for_each(|number| secret(&[number; 32]));
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for bytes in SECRETS.take() {
        for spelling in spellings(&bytes) {
            assert!(!text.contains(&spelling), "a secret of {} bytes is in the log: {spelling}", bytes.len());
        }
    }
    (result, text)
}

/// [`checked`], of a test with daemons.
pub fn run<F: Future<Output = ()>>(test: F) {
    let (_, log) = checked(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    });
    assert!(!log.is_empty(), "nothing was logged");
}
