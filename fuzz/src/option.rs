// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Packets and the options in them, as the module reads them.

use pdmv2_proto::headers::Headers;
use pdmv2_proto::placement::{scan, Placement};
use pdmv2_proto::uapi::Mechanism;
use pdmv2_proto::wire::{mechanism_of_len, Body, V2Clear, V2Interior, OPTION_TYPE, V2_CLEAR_LEN};
use pdmv2_proto::wire_kri::{KriBody, KriClear};

/// The body of an option, of each form and profile: what is read is written as it was, but for reserved bits of `v2`.
pub fn option(input: &[u8]) {
    let body = Body::parse(input);
    assert_eq!(body.map(|body| body.mechanism()), mechanism_of_len(input.len()));
    match body {
        Some(Body::Pdm(pdm)) => assert_eq!(pdm.emit().as_slice(), input),
        Some(Body::V2(clear, interior)) => {
            assert_eq!(Some(clear.emit().as_slice()), input.get(..V2_CLEAR_LEN));
            assert_eq!(V2Interior::parse(&interior.emit()), interior);
            assert_eq!(Some(interior.emit()[2..].as_ref()), input.get(V2_CLEAR_LEN + 2..));
        }
        Some(Body::V2Encrypted(clear, sealed)) => {
            assert_eq!([clear.emit().as_slice(), sealed].concat(), input);
            assert_eq!(clear.aad(OPTION_TYPE)[2..], clear.emit());
            assert_eq!(V2Clear::parse(&clear.emit()), clear);
        }
        None => {}
    }
    match KriBody::parse(input) {
        Some(KriBody::Plain(clear, interior)) => {
            assert_eq!([clear.emit().as_slice(), &interior.emit()].concat(), input);
        }
        Some(KriBody::Encrypted(clear, sealed)) => {
            assert_eq!([clear.emit().as_slice(), sealed].concat(), input);
            assert_eq!(KriClear::parse(&clear.emit()), clear);
        }
        None => {}
    }
}

/// A packet: its headers, its final Destination Options header, and that header with an option added.
pub fn headers(input: &[u8]) {
    let Ok(headers) = Headers::parse(input, input.len()) else { return };
    assert!(headers.upper_at() <= input.len());
    let _ = (headers.flow_sent(), headers.flow_received(), headers.is_dhcpv6(), headers.has_payload());
    let existing = match headers.final_options {
        Some(place) => place.of(input),
        None => None,
    };
    if let Some(existing) = existing {
        let _ = scan(existing, OPTION_TYPE);
    }
    for mechanism in [Mechanism::Pdm, Mechanism::V2, Mechanism::V2Encrypted] {
        let Some(placement) = Placement::plan(existing, headers.protocol, OPTION_TYPE, mechanism) else { continue };
        // What is sent is what a receiver reads: one option of this type, of this mechanism's length.
        let found = scan(placement.header(), OPTION_TYPE).expect("what is planned can be read");
        assert_eq!(found.found, 1);
        assert_eq!(found.body.and_then(|(_, len)| mechanism_of_len(len)), Some(mechanism));
        assert_eq!(placement.header().len() % 8, 0);
    }
}
