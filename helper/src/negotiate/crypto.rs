// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! HPKE (RFC 9180) in mode Psk, behind one interface for every suite. The library wipes private keys and contexts when
//! they are dropped.

use hpke::aead::{Aead, AeadCtxR, AeadCtxS, AesGcm128, AesGcm256, ChaCha20Poly1305};
use hpke::kdf::{HkdfSha256, HkdfSha512, Kdf};
use hpke::kem::{DhP256HkdfSha256, X25519HkdfSha256, XWing};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, PskBundle, Serializable};
use pdmv2_proto::suite::{self, Suite};

use super::error::Failure;
use super::Entropy;
use crate::secret::Secret;

/// Runs an expression with `$kem` as the type of a suite's KEM.
macro_rules! with_kem {
    ($suite:expr, $kem:ident => $run:expr) => {
        match suite::Kem::of($suite) {
            Some(suite::Kem::XWing) => {
                type $kem = XWing;
                $run
            }
            Some(suite::Kem::X25519) => {
                type $kem = X25519HkdfSha256;
                $run
            }
            Some(suite::Kem::P256) => {
                type $kem = DhP256HkdfSha256;
                $run
            }
            None => Err(Failure::NoCommonSuite),
        }
    };
}

/// Runs an expression with `$kdf` and `$aead` as the types of a suite's KDF and AEAD.
macro_rules! with_kdf_and_aead {
    ($suite:expr, $kdf:ident, $aead:ident => $run:expr) => {
        match (suite::Kdf::of($suite), suite::Aead::of($suite)) {
            (Some(suite::Kdf::HkdfSha256), Some(suite::Aead::Aes128Gcm)) => {
                with_kdf_and_aead!(@ $kdf = HkdfSha256, $aead = AesGcm128, $run)
            }
            (Some(suite::Kdf::HkdfSha256), Some(suite::Aead::Aes256Gcm)) => {
                with_kdf_and_aead!(@ $kdf = HkdfSha256, $aead = AesGcm256, $run)
            }
            (Some(suite::Kdf::HkdfSha256), Some(suite::Aead::ChaCha20Poly1305)) => {
                with_kdf_and_aead!(@ $kdf = HkdfSha256, $aead = ChaCha20Poly1305, $run)
            }
            (Some(suite::Kdf::HkdfSha512), Some(suite::Aead::Aes128Gcm)) => {
                with_kdf_and_aead!(@ $kdf = HkdfSha512, $aead = AesGcm128, $run)
            }
            (Some(suite::Kdf::HkdfSha512), Some(suite::Aead::Aes256Gcm)) => {
                with_kdf_and_aead!(@ $kdf = HkdfSha512, $aead = AesGcm256, $run)
            }
            (Some(suite::Kdf::HkdfSha512), Some(suite::Aead::ChaCha20Poly1305)) => {
                with_kdf_and_aead!(@ $kdf = HkdfSha512, $aead = ChaCha20Poly1305, $run)
            }
            (None, _) | (_, None) => Err(Failure::NoCommonSuite),
        }
    };
    (@ $kdf:ident = $hkdf:ty, $aead:ident = $cipher:ty, $run:expr) => {{
        type $kdf = $hkdf;
        type $aead = $cipher;
        $run
    }};
}

/// What an HPKE context of either side does.
pub trait Context {
    /// Context.Export.
    ///
    /// # Errors
    /// A length over 255 times that of the KDF.
    fn export(&self, exporter_context: &[u8], len: usize) -> Result<Secret, Failure>;
}

/// The client's context.
pub trait Sealer: Context {
    /// Context.Seal.
    ///
    /// # Errors
    /// More than 2^64 messages.
    fn seal(&mut self, aad: &[u8], plaintext: &Secret) -> Result<Vec<u8>, Failure>;
}

/// The server's context.
pub trait Opener: Context {
    /// Context.Open.
    ///
    /// # Errors
    /// [`Failure::NotOpened`].
    fn open(&mut self, aad: &[u8], ciphertext: &[u8]) -> Result<Secret, Failure>;
}

/// The client's context of any suite.
pub type SenderContext = Box<dyn Sealer + Send>;

/// The server's context of any suite.
pub type ReceiverContext = Box<dyn Opener + Send>;

impl<A: Aead, K: Kdf, M: Kem> Context for AeadCtxS<A, K, M> {
    fn export(&self, exporter_context: &[u8], len: usize) -> Result<Secret, Failure> {
        let mut out = Secret::zeroed(len);
        self.export(exporter_context, out.as_mut_bytes()).map_err(|_| Failure::Crypto)?;
        Ok(out)
    }
}

impl<A: Aead, K: Kdf, M: Kem> Context for AeadCtxR<A, K, M> {
    fn export(&self, exporter_context: &[u8], len: usize) -> Result<Secret, Failure> {
        let mut out = Secret::zeroed(len);
        self.export(exporter_context, out.as_mut_bytes()).map_err(|_| Failure::Crypto)?;
        Ok(out)
    }
}

impl<A: Aead, K: Kdf, M: Kem> Sealer for AeadCtxS<A, K, M> {
    fn seal(&mut self, aad: &[u8], plaintext: &Secret) -> Result<Vec<u8>, Failure> {
        self.seal(plaintext.as_bytes(), aad).map_err(|_| Failure::Crypto)
    }
}

impl<A: Aead, K: Kdf, M: Kem> Opener for AeadCtxR<A, K, M> {
    fn open(&mut self, aad: &[u8], ciphertext: &[u8]) -> Result<Secret, Failure> {
        self.open(ciphertext, aad).map(Secret::new).map_err(|_| Failure::NotOpened)
    }
}

/// The server's key of one negotiation.
pub struct Recipient {
    suite: Suite,
    private: Box<dyn PrivateKey + Send>,
}

impl Recipient {
    /// A new key for the suite's KEM, and its public half as sent in m2.
    ///
    /// # Errors
    /// [`Failure::NoCommonSuite`] for a KEM that this implementation does not have.
    pub fn generate(suite: Suite, entropy: &mut impl Entropy) -> Result<(Self, Vec<u8>), Failure> {
        with_kem!(suite, M => {
            let (private, public) = M::gen_keypair_with_rng(entropy);
            Ok((Self { suite, private: Box::new(Private::<M>(private)) }, public.to_bytes().to_vec()))
        })
    }

    /// SetupPSKR.
    ///
    /// # Errors
    /// [`Failure::Key`] for an `enc` that is no key.
    pub fn set_up(&self, enc: &[u8], info: &[u8], psk: &Secret, psk_id: &[u8]) -> Result<ReceiverContext, Failure> {
        self.private.set_up(self.suite, enc, info, bundle(psk, psk_id)?)
    }
}

/// SetupPSKS: the encapsulated key as sent in m3, and the context.
///
/// # Errors
/// [`Failure::NoCommonSuite`] for a suite that this implementation does not have; [`Failure::Key`] for a `pk_r` that is no
/// key.
pub fn set_up_sender(
    suite: Suite,
    pk_r: &[u8],
    info: &[u8],
    psk: &Secret,
    psk_id: &[u8],
    entropy: &mut impl Entropy,
) -> Result<(Vec<u8>, SenderContext), Failure> {
    with_kem!(suite, M => sender::<M>(suite, &OpModeS::Psk(bundle(psk, psk_id)?), pk_r, info, entropy))
}

fn bundle<'a>(psk: &'a Secret, psk_id: &'a [u8]) -> Result<PskBundle<'a>, Failure> {
    if psk.as_bytes().is_empty() {
        return Err(Failure::Crypto);
    }
    PskBundle::new(psk.as_bytes(), psk_id).map_err(|_| Failure::Crypto)
}

/// A private key of any KEM.
trait PrivateKey {
    fn set_up(&self, suite: Suite, enc: &[u8], info: &[u8], psk: PskBundle<'_>) -> Result<ReceiverContext, Failure>;
}

struct Private<M: Kem>(M::PrivateKey);

impl<M: Kem + Send + 'static> PrivateKey for Private<M> {
    fn set_up(&self, suite: Suite, enc: &[u8], info: &[u8], psk: PskBundle<'_>) -> Result<ReceiverContext, Failure> {
        receiver(suite, &OpModeR::Psk(psk), self, enc, info)
    }
}

/// `Setup<MODE>S` of RFC 9180 section 5.1.
fn sender<M: Kem + Send + 'static>(
    suite: Suite,
    mode: &OpModeS<'_, M>,
    pk_r: &[u8],
    info: &[u8],
    entropy: &mut impl Entropy,
) -> Result<(Vec<u8>, SenderContext), Failure> {
    let pk_r = M::PublicKey::from_bytes(pk_r).map_err(|_| Failure::Key)?;
    with_kdf_and_aead!(suite, K, A => {
        let (enc, context) =
            hpke::setup_sender_with_rng::<A, K, M>(mode, &pk_r, info, entropy).map_err(|_| Failure::Key)?;
        Ok((enc.to_bytes().to_vec(), Box::new(context) as SenderContext))
    })
}

/// `Setup<MODE>R`.
fn receiver<M: Kem + Send + 'static>(
    suite: Suite,
    mode: &OpModeR<'_, M>,
    private: &Private<M>,
    enc: &[u8],
    info: &[u8],
) -> Result<ReceiverContext, Failure> {
    let enc = M::EncappedKey::from_bytes(enc).map_err(|_| Failure::Key)?;
    with_kdf_and_aead!(suite, K, A => {
        let context = hpke::setup_receiver::<A, K, M>(mode, &private.0, &enc, info).map_err(|_| Failure::Key)?;
        Ok(Box::new(context) as ReceiverContext)
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hpke::rand_core::{TryCryptoRng, TryRng};
    use serde_json::Value;

    use super::*;
    use crate::hex;
    use crate::negotiate::suites;

    const VECTORS: &str = include_str!("../../../docs/test-vectors/hpke.json");
    const X_WING_VECTORS: &str = include_str!("../../../docs/test-vectors/x-wing.json");

    /// Randomness that was drawn beforehand, all of it at once.
    struct Drawn(Vec<u8>);

    impl TryRng for Drawn {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            unreachable!("only bytes are drawn")
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            unreachable!("only bytes are drawn")
        }

        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
            out.copy_from_slice(&std::mem::take(&mut self.0));
            Ok(())
        }
    }

    impl TryCryptoRng for Drawn {}

    fn bytes(value: &Value) -> Vec<u8> {
        hex::decode(value.as_str().unwrap()).unwrap()
    }

    fn suite(vector: &Value) -> Suite {
        let suite = bytes(&vector["suite"]);
        let number = |at: usize| u16::from_be_bytes([suite[at], suite[at + 1]]);
        Suite { kem: number(0), kdf: number(2), aead: number(4) }
    }

    type Ends = (Vec<u8>, Vec<u8>, SenderContext, ReceiverContext);

    /// pkR, enc and the contexts of both ends.
    fn ends(vector: &Value) -> Result<Ends, Failure> {
        let (suite, info) = (suite(vector), bytes(&vector["info"]));
        let (mut ikm_r, mut ikm_e) = (Drawn(bytes(&vector["ikm_r"])), Drawn(bytes(&vector["ikm_e"])));
        if vector["mode"] == "Psk" {
            let (psk, psk_id) = (Secret::new(bytes(&vector["psk"])), bytes(&vector["psk_id"]));
            let (recipient, pk_r) = Recipient::generate(suite, &mut ikm_r)?;
            let (enc, sender) = set_up_sender(suite, &pk_r, &info, &psk, &psk_id, &mut ikm_e)?;
            let receiver = recipient.set_up(&enc, &info, &psk, &psk_id)?;
            return Ok((pk_r, enc, sender, receiver));
        }
        assert_eq!(vector["mode"], "Base");
        with_kem!(suite, M => {
            let (private, public) = M::gen_keypair_with_rng(&mut ikm_r);
            let pk_r = public.to_bytes().to_vec();
            let (enc, sender) = sender::<M>(suite, &OpModeS::Base, &pk_r, &info, &mut ikm_e)?;
            let receiver = receiver::<M>(suite, &OpModeR::Base, &Private(private), &enc, &info)?;
            Ok((pk_r, enc, sender, receiver))
        })
    }

    /// RFC 9180's vectors (appendix A, and the file it refers to) for X25519 and P-256, draft-ietf-hpke-pq's for X-Wing, and for
    /// X-Wing in mode Psk, which nobody has published, those of tests/vectors/hpke.py.
    #[test]
    fn every_suite_agrees_with_a_vector() {
        let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
        let mut missing = suites::all();
        for vector in &vectors {
            let name = format!("{} {}", suite(vector), vector["mode"]);
            let (pk_r, enc, mut sender, mut receiver) = ends(vector).unwrap();
            assert_eq!(pk_r, bytes(&vector["pk_r"]), "{name}");
            assert_eq!(enc, bytes(&vector["enc"]), "{name}");
            let encryptions = vector["encryptions"].as_array().unwrap();
            assert!(!encryptions.is_empty());
            for encryption in encryptions {
                let (aad, plaintext) = (bytes(&encryption["aad"]), Secret::new(bytes(&encryption["plaintext"])));
                let sealed = bytes(&encryption["sealed"]);
                assert_eq!(sender.seal(&aad, &plaintext), Ok(sealed.clone()), "{name}");
                assert_eq!(receiver.open(&aad, &sealed), Ok(plaintext), "{name}");
            }
            let exports = vector["exports"].as_array().unwrap();
            assert!(!exports.is_empty());
            for export in exports {
                let (context, len) = (bytes(&export["context"]), export["len"].as_u64().unwrap() as usize);
                let value = Secret::new(bytes(&export["value"]));
                assert_eq!(sender.export(&context, len).as_ref(), Ok(&value), "{name}");
                assert_eq!(receiver.export(&context, len), Ok(value), "{name}");
            }
            missing.retain(|left| *left != suite(vector) || vector["mode"] != "Psk");
        }
        assert_eq!(missing, []);
    }

    /// draft-connolly-cfrg-xwing-kem's own vectors, of the KEM by itself.
    #[test]
    fn x_wing_agrees_with_its_own_vectors() {
        let vectors: Vec<Value> = serde_json::from_str(X_WING_VECTORS).unwrap();
        assert_eq!(vectors.len(), 3);
        for vector in &vectors {
            let private = <XWing as Kem>::PrivateKey::from_bytes(&bytes(&vector["sk"])).unwrap();
            let public = XWing::sk_to_pk(&private);
            // "sk" is the seed itself.
            assert_eq!(private.to_bytes().to_vec(), bytes(&vector["seed"]));
            assert_eq!(public.to_bytes().to_vec(), bytes(&vector["pk"]));
            let (sent, enc) = XWing::encap_with_rng(&public, None, &mut Drawn(bytes(&vector["eseed"]))).unwrap();
            assert_eq!(enc.to_bytes().to_vec(), bytes(&vector["ct"]));
            let received = XWing::decap(&private, None, &enc).unwrap();
            for shared in [sent, received] {
                assert_eq!(shared.0.to_vec(), bytes(&vector["ss"]));
            }
        }
    }

    #[test]
    fn suites_that_are_not_here_are_refused() {
        let entropy = &mut crate::negotiate::system_entropy();
        let (recipient, pk_r) = Recipient::generate(Suite::DEFAULT, entropy).unwrap();
        let psk = Secret::new(vec![1; 32]);
        let unknown = |kem, kdf, aead| Suite { kem, kdf, aead };
        assert!(matches!(Recipient::generate(unknown(0x12, 1, 1), entropy), Err(Failure::NoCommonSuite)));
        for suite in [unknown(0x12, 1, 1), unknown(0x20, 2, 1), unknown(0x20, 1, 0xffff)] {
            let refused = set_up_sender(suite, &pk_r, b"", &psk, b"id", entropy);
            assert!(matches!(refused, Err(Failure::NoCommonSuite)), "{suite}");
        }
        for suite in [unknown(0x20, 2, 1), unknown(0x20, 1, 0xffff)] {
            let recipient = Recipient { suite, ..Recipient::generate(Suite::DEFAULT, entropy).unwrap().0 };
            assert!(matches!(recipient.set_up(&pk_r, b"", &psk, b"id"), Err(Failure::NoCommonSuite)), "{suite}");
        }
        assert!(recipient.set_up(&pk_r, b"", &psk, b"id").is_ok());
        // No PSK, or none with a name: not mode Psk.
        assert!(matches!(recipient.set_up(&pk_r, b"", &psk, b""), Err(Failure::Crypto)));
        assert!(matches!(recipient.set_up(&pk_r, b"", &Secret::zeroed(0), b"id"), Err(Failure::Crypto)));
        assert!(matches!(recipient.set_up(&pk_r, b"", &Secret::zeroed(0), b""), Err(Failure::Crypto)));
    }
}
