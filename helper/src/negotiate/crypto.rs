// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! HPKE (RFC 9180) in mode Psk, behind one interface for every suite.

use hpke::aead::AesGcm128;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, PskBundle, Serializable};
use pdmv2_proto::suite::Suite;

use super::binding::PSK_ID;
use super::error::Failure;
use crate::secret::Secret;

/// Suites this implementation has, best first.
pub const SUITES: &[Suite] = &[Suite::DEFAULT];

type X25519Private = <X25519HkdfSha256 as Kem>::PrivateKey;
type SenderContext = hpke::aead::AeadCtxS<AesGcm128, HkdfSha256, X25519HkdfSha256>;
type ReceiverContext = hpke::aead::AeadCtxR<AesGcm128, HkdfSha256, X25519HkdfSha256>;

/// The server's key of one negotiation. The library wipes the private half when it is dropped.
pub enum Recipient {
    /// KEM 0x0020.
    X25519(X25519Private),
}

impl Recipient {
    /// A new key for the suite's KEM, and its public half as sent in m2.
    ///
    /// # Errors
    /// A suite not in [`SUITES`].
    pub fn generate(suite: Suite, entropy: &mut impl super::Entropy) -> Result<(Self, Vec<u8>), Failure> {
        match suite {
            Suite::DEFAULT => {
                let (private, public) = X25519HkdfSha256::gen_keypair_with_rng(entropy);
                Ok((Self::X25519(private), public.to_bytes().to_vec()))
            }
            _ => Err(Failure::NoCommonSuite),
        }
    }

    /// SetupPSKR.
    ///
    /// # Errors
    /// [`Failure::Key`] for an `enc` that is no key.
    pub fn set_up(&self, enc: &[u8], info: &[u8], psk: &Secret) -> Result<Context, Failure> {
        match self {
            Self::X25519(private) => {
                let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(enc).map_err(|_| Failure::Key)?;
                let bundle = PskBundle::new(psk.as_bytes(), PSK_ID).map_err(|_| Failure::Crypto)?;
                hpke::setup_receiver(&OpModeR::Psk(bundle), private, &enc, info)
                    .map(Context::X25519Receiver)
                    .map_err(|_| Failure::Key)
            }
        }
    }
}

/// SetupPSKS: the encapsulated key as sent in m3, and the context.
///
/// # Errors
/// A suite not in [`SUITES`]; [`Failure::Key`] for a `pk_r` that is no key.
pub fn set_up_sender(
    suite: Suite,
    pk_r: &[u8],
    info: &[u8],
    psk: &Secret,
    entropy: &mut impl super::Entropy,
) -> Result<(Vec<u8>, Context), Failure> {
    match suite {
        Suite::DEFAULT => {
            let pk_r = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(pk_r).map_err(|_| Failure::Key)?;
            let bundle = PskBundle::new(psk.as_bytes(), PSK_ID).map_err(|_| Failure::Crypto)?;
            let (enc, context): (_, SenderContext) =
                hpke::setup_sender_with_rng(&OpModeS::Psk(bundle), &pk_r, info, entropy).map_err(|_| Failure::Key)?;
            Ok((enc.to_bytes().to_vec(), Context::X25519Sender(context)))
        }
        _ => Err(Failure::NoCommonSuite),
    }
}

/// An HPKE context of either side.
pub enum Context {
    /// Client, 0020/0001/0001.
    X25519Sender(SenderContext),
    /// Server, 0020/0001/0001.
    X25519Receiver(ReceiverContext),
}

impl Context {
    /// Context.Seal.
    ///
    /// # Errors
    /// A receiver's context.
    pub fn seal(&mut self, aad: &[u8], plaintext: &Secret) -> Result<Vec<u8>, Failure> {
        match self {
            Self::X25519Sender(context) => context.seal(plaintext.as_bytes(), aad).map_err(|_| Failure::Crypto),
            Self::X25519Receiver(_) => Err(Failure::Crypto),
        }
    }

    /// Context.Open.
    ///
    /// # Errors
    /// [`Failure::NotOpened`]; a sender's context.
    pub fn open(&mut self, aad: &[u8], ciphertext: &[u8]) -> Result<Secret, Failure> {
        match self {
            Self::X25519Receiver(context) => {
                context.open(ciphertext, aad).map(Secret::new).map_err(|_| Failure::NotOpened)
            }
            Self::X25519Sender(_) => Err(Failure::Crypto),
        }
    }

    /// Context.Export.
    ///
    /// # Errors
    /// A length over 255 times that of the KDF.
    pub fn export(&self, exporter_context: &[u8], len: usize) -> Result<Secret, Failure> {
        let mut out = Secret::zeroed(len);
        match self {
            Self::X25519Sender(context) => context.export(exporter_context, out.as_mut_bytes()),
            Self::X25519Receiver(context) => context.export(exporter_context, out.as_mut_bytes()),
        }
        .map_err(|_| Failure::Crypto)?;
        Ok(out)
    }
}
