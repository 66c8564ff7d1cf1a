// SPDX-License-Identifier: GPL-2.0-only OR MIT

use std::fmt::Debug;
use std::marker::PhantomData;

use proptest::prelude::*;

use super::*;
use crate::hex;
use crate::negotiate::system_entropy;

const BOB: &[u8] = b"Bob";

/// A point of the curve over F_p^2 that has the order of the whole curve, not of G2 (x = 1 + 0 u or what comes next).
fn outside_of_the_group() -> [u8; G2_LEN] {
    for x in 0..=255 {
        let mut bytes = [0; G2_LEN];
        (bytes[0], bytes[G2_LEN - 1]) = (0x80, x);
        if let Ok(point) = PublicKey::uncompress(&bytes) {
            assert_eq!(point.validate(), Err(BLST_ERROR::BLST_POINT_NOT_IN_GROUP));
            return bytes;
        }
    }
    unreachable!("half of all x are on the curve")
}

/// Encodings of 96 bytes that are no point of G2, each with a name.
fn no_points() -> Vec<(&'static str, [u8; G2_LEN])> {
    let good = MasterKey::generate(&mut system_entropy()).unwrap().parameters().p_pub.compress();
    let with = |at: usize, byte: u8| {
        let mut bytes = good;
        bytes[at] = byte;
        bytes
    };
    let mut identity = [0; G2_LEN];
    identity[0] = 0xc0;
    let mut identity_with_more = identity;
    identity_with_more[95] = 1;
    // p, the modulus, in place of the coefficient of u: 0 that is not canonical.
    let p = "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab";
    let mut modulus = good;
    modulus[..48].copy_from_slice(&hex::decode(p).unwrap());
    modulus[0] |= 0x80;
    let mut second_modulus = good;
    second_modulus[48..].copy_from_slice(&hex::decode(p).unwrap());
    // Of two x that differ by 1 one in four pairs has no point; look for one.
    let off_curve = (0..=255).map(|byte| with(95, byte)).find(|bytes| PublicKey::uncompress(bytes).is_err()).unwrap();
    vec![
        ("identity", identity),
        ("identity with more", identity_with_more),
        ("all zero", [0; G2_LEN]),
        ("not marked as compressed", with(0, good[0] & 0x7f)),
        ("marked as the identity", with(0, good[0] | 0x40)),
        ("first coefficient is p", modulus),
        ("second coefficient is p", second_modulus),
        ("all ones", [0xff; G2_LEN]),
        ("not on the curve", off_curve),
        ("not in the group", outside_of_the_group()),
    ]
}

#[test]
fn what_is_encapsulated_to_an_identity_its_key_opens() {
    let rng = &mut system_entropy();
    let master = MasterKey::generate(rng).unwrap();
    let parameters = Parameters::decode(&master.parameters().encode()).unwrap();
    assert_eq!(parameters, master.parameters());
    let key = PrivateKey::decode(&master.extract(BOB).encode(), &parameters, BOB).unwrap();
    let (k, ciphertext) = parameters.encapsulate(BOB, rng).unwrap();
    assert_eq!(k.as_bytes().len(), SHARED_LEN);
    assert_eq!(key.decapsulate(&ciphertext), Ok(k.clone()));
    let again = MasterKey::decode(&master.encode()).unwrap();
    assert_eq!(again.extract(BOB).decapsulate(&ciphertext), Ok(k.clone()));
    // Every encapsulation is another.
    let (other, _) = parameters.encapsulate(BOB, rng).unwrap();
    assert_ne!(k, other);
}

#[test]
fn nothing_else_opens_it() {
    let rng = &mut system_entropy();
    let (master, other) = (MasterKey::generate(rng).unwrap(), MasterKey::generate(rng).unwrap());
    let (_, ciphertext) = master.parameters().encapsulate(BOB, rng).unwrap();
    let table = [
        ("another identity", master.extract(b"Alice")),
        ("another generator", other.extract(BOB)),
        ("an identity that begins the same", master.extract(b"Bob2")),
    ];
    for (name, key) in table {
        assert_eq!(key.decapsulate(&ciphertext), Err(Refused::NotOpened), "{name}");
    }
    let key = master.extract(BOB);
    for at in 0..CIPHERTEXT_LEN {
        let mut damaged = ciphertext;
        damaged[at] ^= 1 << (at % 8);
        let refused = key.decapsulate(&damaged);
        assert!(matches!(refused, Err(Refused::NotOpened | Refused::Point)), "byte {at}: {refused:?}");
        // V and W are masked strings: nothing but the check of U tells.
        assert!(at < G2_LEN || refused == Err(Refused::NotOpened), "byte {at}");
    }
    // -U: a point of the group, and [q - l]P.
    let mut negated = ciphertext;
    negated[0] ^= 0x20;
    assert_eq!(key.decapsulate(&negated), Err(Refused::NotOpened));
}

#[test]
fn no_point_that_is_not_of_the_group_is_taken() {
    let master = MasterKey::generate(&mut system_entropy()).unwrap();
    let key = master.extract(BOB);
    for (name, point) in no_points() {
        let parameters = [&[PARAMETERS_VERSION], &point[..]].concat();
        assert_eq!(Parameters::decode(&parameters), Err(Refused::Point), "{name}");
        let mut ciphertext = [7; CIPHERTEXT_LEN];
        ciphertext[..G2_LEN].copy_from_slice(&point);
        assert_eq!(key.decapsulate(&ciphertext), Err(Refused::Point), "{name}");
    }
}

#[test]
fn parameters_of_another_length_or_version_are_refused() {
    let good = MasterKey::generate(&mut system_entropy()).unwrap().parameters().encode();
    assert!(Parameters::decode(&good).is_ok());
    for len in 0..good.len() {
        assert_eq!(Parameters::decode(&good[..len]), Err(Refused::Encoding), "{len}");
    }
    assert_eq!(Parameters::decode(&[&good[..], &[0]].concat()), Err(Refused::Encoding));
    for version in [0, 2, 255] {
        let other = [&[version], &good[1..]].concat();
        assert_eq!(Parameters::decode(&other), Err(Refused::Encoding), "{version}");
    }
    // The encoding that is not compressed is of 192 bytes.
    let long = Parameters::decode(&good).unwrap().p_pub.serialize();
    assert_eq!(Parameters::decode(&[&[PARAMETERS_VERSION], &long[..]].concat()), Err(Refused::Encoding));
}

#[test]
fn private_keys_are_checked() {
    let rng = &mut system_entropy();
    let (master, other) = (MasterKey::generate(rng).unwrap(), MasterKey::generate(rng).unwrap());
    let parameters = master.parameters();
    let good = master.extract(BOB).encode();
    assert!(PrivateKey::decode(&good, &parameters, BOB).is_ok());
    let refused = |bytes: &[u8]| PrivateKey::decode(&Secret::new(bytes.to_vec()), &parameters, BOB).err();
    let mut identity = [0; PRIVATE_KEY_LEN];
    identity[0] = 0xc0;
    let uncompressed = Signature::from(master.extract(BOB).0).serialize();
    let mut negated = good.as_bytes().to_vec();
    negated[0] ^= 0x20;
    // x = 4: y^2 = 4^3 + 4, and the like, on the curve and not in the group.
    let outside = (0..=255u8)
        .map(|x| {
            let mut bytes = [0; PRIVATE_KEY_LEN];
            (bytes[0], bytes[47]) = (0x80, x);
            bytes
        })
        .find(|bytes| Signature::uncompress(bytes).is_ok_and(|point| !point.subgroup_check()))
        .unwrap();
    let table = [
        ("empty", vec![], Refused::Encoding),
        ("cut", good.as_bytes()[..47].to_vec(), Refused::Encoding),
        ("not compressed", uncompressed.to_vec(), Refused::Encoding),
        ("the identity", identity.to_vec(), Refused::Point),
        ("not in the group", outside.to_vec(), Refused::Point),
        ("negated", negated, Refused::NotItsKey),
        ("of another identity", master.extract(b"Alice").encode().as_bytes().to_vec(), Refused::NotItsKey),
        ("of another generator", other.extract(BOB).encode().as_bytes().to_vec(), Refused::NotItsKey),
    ];
    for (name, bytes, why) in table {
        assert_eq!(refused(&bytes), Some(why), "{name}");
    }
}

#[test]
fn master_keys_are_numbers_from_1_to_q_less_1() {
    let q = "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001";
    let less = "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000000";
    let decode = |text: &str| MasterKey::decode(&Secret::new(hex::decode(text).unwrap())).err();
    assert_eq!(decode(less), None);
    for text in [q, &"00".repeat(32), &"ff".repeat(32), &"01".repeat(31), &"01".repeat(33), ""] {
        assert_eq!(decode(text), Some(Refused::Scalar), "{text}");
    }
}

/// What a type says of itself to `{:?}`.
struct Probe<T>(PhantomData<T>);

trait NotShown {
    const SHOWN: bool = false;
}

impl<T> NotShown for Probe<T> {}

impl<T: Debug> Probe<T> {
    const SHOWN: bool = true;
}

/// "Keys never in ... debug output".
#[test]
fn keys_cannot_be_printed() {
    const { assert!(Probe::<Parameters>::SHOWN) };
    const { assert!(!Probe::<MasterKey>::SHOWN) };
    const { assert!(!Probe::<PrivateKey>::SHOWN) };
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_ciphertext_panics(bytes in prop::collection::vec(any::<u8>(), CIPHERTEXT_LEN)) {
        let key = MasterKey::decode(&Secret::new(vec![9; 32])).unwrap().extract(BOB);
        prop_assert!(key.decapsulate(&bytes.try_into().unwrap()).is_err());
    }

    #[test]
    fn no_parameters_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Parameters::decode(&bytes);
        bytes.resize(PARAMETERS_LEN, 0);
        bytes[..2].copy_from_slice(&[PARAMETERS_VERSION, 0x80]);
        let _ = Parameters::decode(&bytes);
    }
}
