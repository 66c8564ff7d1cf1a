// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Cookies: who sends one back receives at the address it claims. The host that hands them out remembers none.
//!
//! ```text
//! cookie = HMAC-SHA-256(key of the bucket,
//!                       bucket u64 || local address || remote address || scope u32 || port u16 || session)
//! ```
//!
//! A bucket is a minute. Each has a key of its own, drawn when it begins; the one before is kept. So a cookie is good
//! for one minute at least, two at most.

use std::time::Duration;

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::message::{Session, COOKIE_LEN};
use super::Path;
use crate::negotiate::Entropy;

/// Seconds of a bucket.
pub const BUCKET: u64 = 60;

/// Number of a bucket.
pub type Bucket = u64;

/// The bucket of a time.
pub fn bucket(now: Duration) -> Bucket {
    now.as_secs() / BUCKET
}

type Key = Zeroizing<[u8; 32]>;

/// The keys of this bucket and the one before.
pub struct Cookies {
    present: (Bucket, Key),
    previous: Option<(Bucket, Key)>,
}

impl Cookies {
    /// Keys for the bucket of `now`.
    pub fn new(now: Duration, entropy: &mut impl Entropy) -> Self {
        Self { present: (bucket(now), draw(entropy)), previous: None }
    }

    /// Draws a new key if a new bucket began.
    pub fn advance(&mut self, now: Duration, entropy: &mut impl Entropy) {
        let now = bucket(now);
        if now > self.present.0 {
            let old = std::mem::replace(&mut self.present, (now, draw(entropy)));
            self.previous = Some(old).filter(|(bucket, _)| *bucket + 1 == now);
        }
    }

    /// The cookie to send.
    pub fn bake(&self, path: &Path, session: &Session) -> [u8; COOKIE_LEN] {
        mac(&self.present, path, session)
    }

    /// Whether a cookie is one that this host sent there, in this bucket or the one before.
    pub fn is_mine(&self, cookie: &[u8; COOKIE_LEN], path: &Path, session: &Session) -> bool {
        let keys = [Some(&self.present), self.previous.as_ref()];
        keys.into_iter().flatten().any(|key| mac(key, path, session).ct_eq(cookie).into())
    }
}

fn draw(entropy: &mut impl Entropy) -> Key {
    let mut key = Key::default();
    entropy.fill_bytes(&mut *key);
    key
}

fn mac((bucket, key): &(Bucket, Key), path: &Path, session: &Session) -> [u8; COOKIE_LEN] {
    let input = [
        &bucket.to_be_bytes()[..],
        &path.local.octets(),
        &path.remote.ip().octets(),
        &path.remote.scope_id().to_be_bytes(),
        &path.remote.port().to_be_bytes(),
        session,
    ]
    .concat();
    // HKDF's Extract is HMAC with the salt as key (RFC 5869, section 2.2).
    Hkdf::<Sha256>::extract(Some(&**key), &input).0.into()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddrV6};

    use super::*;
    use crate::negotiate::system_entropy;

    fn path(local: u16, remote: u16, port: u16, scope: u32) -> Path {
        let address = |last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last);
        Path::new(address(local), SocketAddrV6::new(address(remote), port, 0, scope))
    }

    #[test]
    fn a_cookie_is_good_for_where_it_was_sent() {
        let cookies = Cookies::new(Duration::ZERO, &mut system_entropy());
        let (here, session) = (path(1, 2, 3, 0), [4; 16]);
        let cookie = cookies.bake(&here, &session);
        assert!(cookies.is_mine(&cookie, &here, &session));
        let table = [
            ("another address", path(1, 9, 3, 0), session),
            ("another port", path(1, 2, 9, 0), session),
            ("another local address", path(9, 2, 3, 0), session),
            ("another interface", path(1, 2, 3, 9), session),
            ("another session", here, [9; 16]),
        ];
        for (name, path, session) in table {
            assert!(!cookies.is_mine(&cookie, &path, &session), "{name}");
        }
        for at in 0..COOKIE_LEN {
            let mut damaged = cookie;
            damaged[at] ^= 1;
            assert!(!cookies.is_mine(&damaged, &here, &session), "{at}");
        }
        let other = Cookies::new(Duration::ZERO, &mut system_entropy());
        assert!(!other.is_mine(&cookie, &here, &session));
    }

    #[test]
    fn a_cookie_is_good_for_this_bucket_and_the_next() {
        let (here, session) = (path(1, 2, 3, 0), [4; 16]);
        let table: [(u64, &[u64], bool); 7] = [
            (0, &[0], true),
            (0, &[59], true),
            (0, &[119], true),
            (0, &[120], false),
            (59, &[60, 119], true),
            (59, &[60, 120], false),
            (0, &[60 * 1000], false),
        ];
        for (baked, later, good) in table {
            let rng = &mut system_entropy();
            let mut cookies = Cookies::new(Duration::from_secs(baked), rng);
            let cookie = cookies.bake(&here, &session);
            for now in later {
                cookies.advance(Duration::from_secs(*now), rng);
            }
            assert_eq!(cookies.is_mine(&cookie, &here, &session), good, "{baked} {later:?}");
        }
    }

    #[test]
    fn a_clock_that_stands_draws_no_key() {
        let rng = &mut system_entropy();
        let mut cookies = Cookies::new(Duration::from_secs(600), rng);
        let cookie = cookies.bake(&path(1, 2, 3, 0), &[4; 16]);
        for now in [600, 659, 0] {
            cookies.advance(Duration::from_secs(now), rng);
            assert!(cookies.is_mine(&cookie, &path(1, 2, 3, 0), &[4; 16]));
            assert_eq!(cookies.bake(&path(1, 2, 3, 0), &[4; 16]), cookie);
        }
    }
}
