// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! A private CA, and hosts that it certifies.

use std::path::Path;
use std::sync::Arc;

use pdmv2::identity::PrivateKey;
use pdmv2::tls::{CertificateFiles, Trust, TrustError};
use rcgen::{
    date_time_ymd, BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints,
    RevokedCertParams, SanType, SerialNumber, PKCS_ECDSA_P256_SHA256, PKCS_ED25519,
};
use rustls::pki_types::PrivatePkcs8KeyDer;

/// A change of what is about to be certified.
pub type Change = fn(&mut CertificateParams);

/// As it is.
pub const PLAIN: Change = |_| {};

/// A CA with a key of its own.
pub struct Ca {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str, path_len: Option<u8>, under: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(path_len.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    if !under.is_empty() {
        let permitted_subtrees = under.iter().map(|name| GeneralSubtree::DnsName((*name).into())).collect();
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
    }
    params
}

impl Ca {
    /// One that certifies itself.
    pub fn root(name: &str) -> Self {
        // The CA's own key may be of any kind.
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let params = authority(name, None, &[]);
        Self { certificate: params.self_signed(&key).unwrap(), issuer: Issuer::new(params, key) }
    }

    /// One that this one certifies, for names under some.
    pub fn intermediate(&self, name: &str, path_len: Option<u8>, under: &[&str]) -> Self {
        self.intermediate_but(name, path_len, under, PLAIN)
    }

    /// Likewise, with something changed.
    pub fn intermediate_but(&self, name: &str, path_len: Option<u8>, under: &[&str], change: Change) -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = authority(name, path_len, under);
        params.serial_number = Some(SerialNumber::from_slice(&[9]));
        change(&mut params);
        Self { certificate: params.signed_by(&key, &self.issuer).unwrap(), issuer: Issuer::new(params, key) }
    }

    /// Whoever holds a host's certificate and key signs with it.
    pub fn of_a_host(names: &[&str], key: &PrivateKey) -> Self {
        let params = host(names, PLAIN);
        Self { certificate: params.self_signed(&pair(key)).unwrap(), issuer: Issuer::new(params, pair(key)) }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// The certificate of a host's key with these names, serial number 7.
    pub fn certify(&self, names: &[&str], key: &PrivateKey, change: Change) -> String {
        let mut params = host(names, PLAIN);
        change(&mut params);
        params.signed_by(&pair(key), &self.issuer).unwrap().pem()
    }

    /// The same for a key of another kind.
    pub fn certify_p256(&self, names: &[&str]) -> (String, KeyPair) {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        (host(names, PLAIN).signed_by(&key, &self.issuer).unwrap().pem(), key)
    }

    /// A list of these serial numbers, good until a year.
    pub fn revokes(&self, serials: &[u8], until: i32) -> String {
        let revoked = |serial: &u8| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// What a host asks to be certified.
fn host(names: &[&str], change: Change) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&[7]));
    params.distinguished_name.push(DnType::CommonName, "common.example");
    let name = |name: &&str| match name.contains(':') {
        true => SanType::URI((*name).try_into().unwrap()),
        false => SanType::DnsName((*name).try_into().unwrap()),
    };
    params.subject_alt_names = names.iter().map(name).collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    change(&mut params);
    params
}

/// A host's key as the CA's tools take it.
pub fn pair(key: &PrivateKey) -> KeyPair {
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(key.pkcs8().as_slice()), &PKCS_ED25519).unwrap()
}

/// Writes what a host has into a directory.
pub fn files(dir: &Path, chain: &str, cas: &str, lists: Option<&str>) -> CertificateFiles {
    let write = |name: &str, text: &str| {
        // As a careful administrator does: never half a file.
        let path = dir.join(name);
        std::fs::write(dir.join("new"), text).unwrap();
        std::fs::rename(dir.join("new"), &path).unwrap();
        path
    };
    CertificateFiles {
        certificate: write("host.pem", chain),
        ca: write("ca.pem", cas),
        crl: lists.map(|lists| write("crl.pem", lists)),
    }
}

/// What a host with this key, chain and CAs trusts.
pub fn trust(key: &PrivateKey, chain: &str, cas: &str, lists: Option<&str>) -> Result<Arc<Trust>, TrustError> {
    let dir = tempfile::tempdir().unwrap();
    Trust::load(files(dir.path(), chain, cas, lists), key).map(Arc::new)
}
