// SPDX-License-Identifier: GPL-2.0-only OR MIT
// Written by scripts/gen-uapi from docs/netlink/pdmv2.yaml; change that file, then run the script.

//! Numbers and names of the generic netlink family.

/// The family's name.
pub const FAMILY: &str = "pdmv2";
/// The family's version.
pub const VERSION: u8 = 1;

/// Longest association name, bytes.
pub const NAME_MAX: usize = 63;
/// Most prefixes an association may have on each side.
pub const PREFIXES_MAX: usize = 32;
/// Most rules in a policy.
pub const RULES_MAX: usize = 512;
/// Bytes of a secret's public identifier.
pub const SECRET_ID_LEN: usize = 8;
/// Bytes of an AEAD base nonce.
pub const NONCE_LEN: usize = 12;
/// Longest AEAD key, bytes.
pub const KEY_MAX: usize = 32;
/// Longest pseudo-random key of a key schedule, bytes.
pub const PRK_MAX: usize = 64;
/// Largest epoch; past it a flow needs a new secret.
pub const EPOCH_MAX: usize = 4095;
/// Most options that an association may end an epoch after.
pub const EPOCH_PACKETS_MAX: usize = 65535;
/// Most seconds that an association may end an epoch after.
pub const EPOCH_SECONDS_MAX: usize = 86400;
/// Buckets of a histogram of delays. Bucket 0 is below 1024 ns, 2n+1 begins at 2^(10+n) ns, 2n+2 at 1.5 * 2^(10+n) ns.
pub const HISTOGRAM_BUCKETS: usize = 56;

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Mechanism {
    /// No option.
    None = 0,
    /// RFC 8250, in clear.
    Pdm = 1,
    /// PDMv2, in clear.
    V2 = 2,
    /// PDMv2, sealed under the flow's keys.
    V2Encrypted = 3,
}

impl Mechanism {
    /// Every value, in order.
    pub const ALL: [Self; 4] = [
        Self::None,
        Self::Pdm,
        Self::V2,
        Self::V2Encrypted,
    ];

    /// The name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pdm => "pdm",
            Self::V2 => "v2",
            Self::V2Encrypted => "v2-encrypted",
        }
    }

    /// The value's meaning, if it has one.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::None),
            1 => Some(Self::Pdm),
            2 => Some(Self::V2),
            3 => Some(Self::V2Encrypted),
            _ => None,
        }
    }
}

/// A set of mechanisms, as a rule accepts them. The bits follow the values of mechanism.
pub mod mechanisms {
    /// Bit of `none`.
    pub const NONE: u8 = 1;
    /// Bit of `pdm`.
    pub const PDM: u8 = 2;
    /// Bit of `v2`.
    pub const V2: u8 = 4;
    /// Bit of `v2-encrypted`.
    pub const V2_ENCRYPTED: u8 = 8;
}

/// The wire profile of an association, or of a rule's plain options; its value enters the key schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Profile {
    /// With epochs, which options name.
    V2 = 2,
    /// With a key rotation index, of which options say only whether it is odd.
    V2Kri = 3,
}

impl Profile {
    /// Every value, in order.
    pub const ALL: [Self; 2] = [
        Self::V2,
        Self::V2Kri,
    ];

    /// The name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2Kri => "v2-kri",
        }
    }

    /// The value's meaning, if it has one.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            2 => Some(Self::V2),
            3 => Some(Self::V2Kri),
            _ => None,
        }
    }
}

/// Who derives the flow keys of an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum KeyMode {
    /// The helper, asked by ACQUIRE; it installs each flow's keys.
    Helper = 0,
    /// The module itself, from the secret's prk.
    Kernel = 1,
}

impl KeyMode {
    /// Every value, in order.
    pub const ALL: [Self; 2] = [
        Self::Helper,
        Self::Kernel,
    ];

    /// The name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Helper => "helper",
            Self::Kernel => "kernel",
        }
    }

    /// The value's meaning, if it has one.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Helper),
            1 => Some(Self::Kernel),
            _ => None,
        }
    }
}

/// What becomes of a packet whose option fails authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum OnFailure {
    /// `deliver`.
    Deliver = 0,
    /// `drop`.
    Drop = 1,
}

impl OnFailure {
    /// Every value, in order.
    pub const ALL: [Self; 2] = [
        Self::Deliver,
        Self::Drop,
    ];

    /// The name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::Drop => "drop",
        }
    }

    /// The value's meaning, if it has one.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Deliver),
            1 => Some(Self::Drop),
            _ => None,
        }
    }
}

/// Whose packets a key protects, seen from this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum KeyDirection {
    /// `send`.
    Send = 0,
    /// `receive`.
    Receive = 1,
}

impl KeyDirection {
    /// Every value, in order.
    pub const ALL: [Self; 2] = [
        Self::Send,
        Self::Receive,
    ];

    /// The name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Receive => "receive",
        }
    }

    /// The value's meaning, if it has one.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Send),
            1 => Some(Self::Receive),
            _ => None,
        }
    }
}

/// Values of `secret-state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum SecretState {
    /// Accepted, not sent under yet (or never, when it was sent under before).
    Receive = 0,
    /// Accepted, and sent under.
    Send = 1,
    /// Accepted on flows that already live under it, until it is deleted.
    Retired = 2,
}

impl SecretState {
    /// Every value, in order.
    pub const ALL: [Self; 3] = [
        Self::Receive,
        Self::Send,
        Self::Retired,
    ];

    /// The name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Send => "send",
            Self::Retired => "retired",
        }
    }

    /// The value's meaning, if it has one.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Receive),
            1 => Some(Self::Send),
            2 => Some(Self::Retired),
            _ => None,
        }
    }
}

/// Whose flows a rule measures, by who sent the first packet this host saw.
pub mod rule_direction {
    /// Bit of `outbound`.
    pub const OUTBOUND: u8 = 1;
    /// Bit of `inbound`.
    pub const INBOUND: u8 = 2;
}

/// Why a packet that a rule wants measured was sent without an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Skip {
    /// ICMPv6 other than echo.
    Icmpv6 = 0,
    /// Source address ::.
    UnspecifiedSource = 1,
    /// Multicast of interface-local or link-local scope.
    LinkMulticast = 2,
    /// `dhcpv6`.
    Dhcpv6 = 3,
    /// The packet carries a Router Alert option.
    RouterAlert = 4,
    /// The packet is or will be fragmented.
    Fragment = 5,
    /// IPsec transport or BEET mode would leave the option in clear.
    Ipsec = 6,
    /// TCP authentication covers the pseudo-header's length.
    TcpAo = 7,
    /// Encryption offloaded to the device (kTLS, PSP), or an unreadable packet.
    DeviceCrypto = 8,
    /// This host translates the connection, or may yet, so that the peer would see another 5-tuple.
    Nat = 9,
    /// Multicast under a rule that does not name it, or that wants it encrypted.
    Multicast = 10,
    /// Loopback under a rule that does not name it, or that wants it encrypted.
    Loopback = 11,
    /// Source and destination 5-tuple coincide.
    SameTuple = 12,
    /// An answer sent without a full socket, on a flow without state.
    NoSocket = 13,
    /// No association covers the pair of addresses.
    NoAssociation = 14,
    /// The flow's key is not there yet.
    NoKey = 15,
    /// The flow or its bucket has used every epoch of the secret.
    Exhausted = 16,
    /// The flow table is full of younger flows.
    TableFull = 17,
    /// `no-memory`.
    NoMemory = 18,
    /// With the option the packet would exceed the path MTU.
    Mtu = 19,
    /// The application probes the path MTU and the packet would exceed 1280 bytes.
    MtuProbe = 20,
    /// The packet's extension headers leave no room the Internet would deliver.
    Headers = 21,
    /// A super-packet that cannot be segmented.
    Gso = 22,
    /// Left out by the rule's sampling.
    Sampled = 23,
    /// The namespace forbids plain mechanisms.
    PlainForbidden = 24,
    /// The packet's own headers could not be followed to an upper layer.
    Malformed = 25,
}

impl Skip {
    /// Every value, in order.
    pub const ALL: [Self; 26] = [
        Self::Icmpv6,
        Self::UnspecifiedSource,
        Self::LinkMulticast,
        Self::Dhcpv6,
        Self::RouterAlert,
        Self::Fragment,
        Self::Ipsec,
        Self::TcpAo,
        Self::DeviceCrypto,
        Self::Nat,
        Self::Multicast,
        Self::Loopback,
        Self::SameTuple,
        Self::NoSocket,
        Self::NoAssociation,
        Self::NoKey,
        Self::Exhausted,
        Self::TableFull,
        Self::NoMemory,
        Self::Mtu,
        Self::MtuProbe,
        Self::Headers,
        Self::Gso,
        Self::Sampled,
        Self::PlainForbidden,
        Self::Malformed,
    ];

    /// The name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Icmpv6 => "icmpv6",
            Self::UnspecifiedSource => "unspecified-source",
            Self::LinkMulticast => "link-multicast",
            Self::Dhcpv6 => "dhcpv6",
            Self::RouterAlert => "router-alert",
            Self::Fragment => "fragment",
            Self::Ipsec => "ipsec",
            Self::TcpAo => "tcp-ao",
            Self::DeviceCrypto => "device-crypto",
            Self::Nat => "nat",
            Self::Multicast => "multicast",
            Self::Loopback => "loopback",
            Self::SameTuple => "same-tuple",
            Self::NoSocket => "no-socket",
            Self::NoAssociation => "no-association",
            Self::NoKey => "no-key",
            Self::Exhausted => "exhausted",
            Self::TableFull => "table-full",
            Self::NoMemory => "no-memory",
            Self::Mtu => "mtu",
            Self::MtuProbe => "mtu-probe",
            Self::Headers => "headers",
            Self::Gso => "gso",
            Self::Sampled => "sampled",
            Self::PlainForbidden => "plain-forbidden",
            Self::Malformed => "malformed",
        }
    }

    /// The value's meaning, if it has one.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Icmpv6),
            1 => Some(Self::UnspecifiedSource),
            2 => Some(Self::LinkMulticast),
            3 => Some(Self::Dhcpv6),
            4 => Some(Self::RouterAlert),
            5 => Some(Self::Fragment),
            6 => Some(Self::Ipsec),
            7 => Some(Self::TcpAo),
            8 => Some(Self::DeviceCrypto),
            9 => Some(Self::Nat),
            10 => Some(Self::Multicast),
            11 => Some(Self::Loopback),
            12 => Some(Self::SameTuple),
            13 => Some(Self::NoSocket),
            14 => Some(Self::NoAssociation),
            15 => Some(Self::NoKey),
            16 => Some(Self::Exhausted),
            17 => Some(Self::TableFull),
            18 => Some(Self::NoMemory),
            19 => Some(Self::Mtu),
            20 => Some(Self::MtuProbe),
            21 => Some(Self::Headers),
            22 => Some(Self::Gso),
            23 => Some(Self::Sampled),
            24 => Some(Self::PlainForbidden),
            25 => Some(Self::Malformed),
            _ => None,
        }
    }
}

/// Why a received option was ignored; the payload was delivered all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Refusal {
    /// An option length that no mechanism has.
    Length = 0,
    /// A version other than 2.
    Version = 1,
    /// More than one option in a packet, or an option outside the final Destination Options header.
    Header = 2,
    /// A mechanism that no rule accepts here.
    Policy = 3,
    /// No association covers the pair of addresses.
    NoAssociation = 4,
    /// The key for this flow and epoch is not there yet.
    NoKey = 5,
    /// The tag is wrong under every key that may apply.
    Authentication = 6,
    /// A PSN that was already accepted, or older than the window.
    Replay = 7,
    /// An epoch below the previous one of the flow.
    StaleEpoch = 8,
    /// Too many attempts at epochs or flows that are not held.
    Rate = 9,
    /// The connection is translated here, so that the option's 5-tuple is another.
    Translated = 10,
    /// A plain option whose PSN was already accepted.
    Duplicate = 11,
    /// `no-memory`.
    NoMemory = 12,
}

impl Refusal {
    /// Every value, in order.
    pub const ALL: [Self; 13] = [
        Self::Length,
        Self::Version,
        Self::Header,
        Self::Policy,
        Self::NoAssociation,
        Self::NoKey,
        Self::Authentication,
        Self::Replay,
        Self::StaleEpoch,
        Self::Rate,
        Self::Translated,
        Self::Duplicate,
        Self::NoMemory,
    ];

    /// The name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Version => "version",
            Self::Header => "header",
            Self::Policy => "policy",
            Self::NoAssociation => "no-association",
            Self::NoKey => "no-key",
            Self::Authentication => "authentication",
            Self::Replay => "replay",
            Self::StaleEpoch => "stale-epoch",
            Self::Rate => "rate",
            Self::Translated => "translated",
            Self::Duplicate => "duplicate",
            Self::NoMemory => "no-memory",
        }
    }

    /// The value's meaning, if it has one.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Length),
            1 => Some(Self::Version),
            2 => Some(Self::Header),
            3 => Some(Self::Policy),
            4 => Some(Self::NoAssociation),
            5 => Some(Self::NoKey),
            6 => Some(Self::Authentication),
            7 => Some(Self::Replay),
            8 => Some(Self::StaleEpoch),
            9 => Some(Self::Rate),
            10 => Some(Self::Translated),
            11 => Some(Self::Duplicate),
            12 => Some(Self::NoMemory),
            _ => None,
        }
    }
}

/// What an event message tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Event {
    /// A burst of refusals of one reason on one flow.
    Refused = 0,
    /// A flow or bucket has used every epoch; renegotiate.
    Exhausted = 1,
    /// A flow has used half the epochs of the secret, or three quarters of those that it may be sent in, or will have used all within two minutes if it goes on as it does; renegotiate, or extend them.
    EpochsLow = 2,
    /// The peer's PSN jumped implausibly.
    Jump = 3,
    /// The first option authenticated under a generation of an association.
    Authenticated = 4,
    /// All sending keys were wiped, as the machine was forked or suspended; renegotiate.
    KeysWiped = 5,
    /// The packets of a flow come without the option that its peer put into them before.
    Missing = 6,
    /// As many options were sealed under a secret as its association lets be; renegotiate.
    PacketsReached = 7,
}

impl Event {
    /// Every value, in order.
    pub const ALL: [Self; 8] = [
        Self::Refused,
        Self::Exhausted,
        Self::EpochsLow,
        Self::Jump,
        Self::Authenticated,
        Self::KeysWiped,
        Self::Missing,
        Self::PacketsReached,
    ];

    /// The name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Exhausted => "exhausted",
            Self::EpochsLow => "epochs-low",
            Self::Jump => "jump",
            Self::Authenticated => "authenticated",
            Self::KeysWiped => "keys-wiped",
            Self::Missing => "missing",
            Self::PacketsReached => "packets-reached",
        }
    }

    /// The value's meaning, if it has one.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Refused),
            1 => Some(Self::Exhausted),
            2 => Some(Self::EpochsLow),
            3 => Some(Self::Jump),
            4 => Some(Self::Authenticated),
            5 => Some(Self::KeysWiped),
            6 => Some(Self::Missing),
            7 => Some(Self::PacketsReached),
            _ => None,
        }
    }
}

/// What an arrived PSN turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Arrival {
    /// In order, perhaps after a gap.
    Forward = 0,
    /// Late: it fills a gap that was counted as loss.
    Reordered = 1,
    /// Accepted before.
    Duplicate = 2,
    /// Implausibly far from the last; counting started anew.
    Jump = 3,
}

impl Arrival {
    /// Every value, in order.
    pub const ALL: [Self; 4] = [
        Self::Forward,
        Self::Reordered,
        Self::Duplicate,
        Self::Jump,
    ];

    /// The name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Reordered => "reordered",
            Self::Duplicate => "duplicate",
            Self::Jump => "jump",
        }
    }

    /// The value's meaning, if it has one.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Forward),
            1 => Some(Self::Reordered),
            2 => Some(Self::Duplicate),
            3 => Some(Self::Jump),
            _ => None,
        }
    }
}

/// What the tracepoint `drop` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum DropKind {
    /// A packet was sent without an option.
    Skipped = 0,
    /// A received option was ignored, and its packet delivered.
    Refused = 1,
    /// A packet was dropped for its option, as its association asks.
    Dropped = 2,
}

impl DropKind {
    /// Every value, in order.
    pub const ALL: [Self; 3] = [
        Self::Skipped,
        Self::Refused,
        Self::Dropped,
    ];

    /// The name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Refused => "refused",
            Self::Dropped => "dropped",
        }
    }

    /// The value's meaning, if it has one.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Skipped),
            1 => Some(Self::Refused),
            2 => Some(Self::Dropped),
            _ => None,
        }
    }
}

/// Commands and notifications.
pub mod cmd {
    /// Replace all rules. Nothing changes when any rule is wrong; no rules turns the namespace off. Limits, all but forbid-plain and the rules, belong to the namespace: each stays as it is where it is absent.
    pub const POLICY_SET: u8 = 1;
    /// The policy in force, and the namespace's limits.
    pub const POLICY_GET: u8 = 2;
    /// Make an association, or change it. Its secrets stay, unless its local prefixes or its key mode change.
    pub const ASSOCIATION_SET: u8 = 3;
    /// Remove an association and wipe its secrets and keys.
    pub const ASSOCIATION_DEL: u8 = 4;
    /// The associations of this namespace, and their secrets without any key.
    pub const ASSOCIATION_GET: u8 = 5;
    /// Give an association a new generation, for receiving. At most two live at once; the newer must have the greater generation.
    pub const SECRET_ADD: u8 = 6;
    /// Send under this generation from now on; the other becomes retired. Refused with EALREADY when it was sent under before, from the same addresses, or retired; with EDQUOT or ENOSPC when no more secrets can be remembered, of this user's namespaces or at all.
    pub const SECRET_ACTIVATE: u8 = 7;
    /// Wipe a generation and every key under it.
    pub const SECRET_DEL: u8 = 8;
    /// Install the key of one flow, direction and epoch, usually in answer to an acquire. A key for an epoch that is already held changes nothing. A key to send under may come before its secret is activated, so that a flow in use has it when that happens.
    pub const KEY_ADD: u8 = 9;
    /// The module needs the key of a flow, direction and epoch. Lost messages are repeated with back-off.
    pub const ACQUIRE: u8 = 10;
    /// The flows of this namespace and what was measured on them.
    pub const FLOW_GET: u8 = 11;
    /// Drop every flow of this namespace; the epochs they used stay used.
    pub const FLOW_FLUSH: u8 = 12;
    /// The namespace's counters.
    pub const STATS_GET: u8 = 13;
    /// Something an operator or the helper should know; rate limited.
    pub const EVENT: u8 = 14;
    /// Change limits of the namespace, whether it has rules or not. Each stays as it is where it is absent; so do the rules.
    pub const LIMITS_SET: u8 = 15;
    /// Let a generation be sent under in further epochs, up to a last one that is not below the last one before. Refused with EINVAL otherwise, and with EALREADY when it is retired.
    pub const SECRET_EXTEND: u8 = 16;
}

/// Multicast groups, in the order they are registered.
pub mod group {
    /// Index of `keys`.
    pub const KEYS: usize = 0;
    /// Index of `events`.
    pub const EVENTS: usize = 1;
    /// Their names.
    pub const NAMES: [&str; 2] = ["keys", "events"];
}

/// What an attribute may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Present or absent.
    Flag,
    /// Integer of 8 bits.
    U8,
    /// Integer of 16 bits.
    U16,
    /// Integer of 32 bits.
    U32,
    /// Integer of 64 bits.
    U64,
    /// Integer of 32 or 64 bits.
    Uint,
    /// Bytes.
    Binary,
    /// Text.
    Text,
    /// Attributes of another set.
    Nest,
}

/// One attribute's name and bounds: of the value for integers, of the length in bytes for `Binary` and `Text`.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The name in the specification.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// Least value or length.
    pub least: u64,
    /// Greatest value or length.
    pub most: u64,
}

/// Attribute numbers, a module for each attribute set; `RULES` is indexed by them.
pub mod attr {
    use super::{Kind, Rule};

    /// Attributes of `prefix`.
    pub mod prefix {
        use super::{Kind, Rule};

        /// `address`.
        pub const ADDRESS: u16 = 1;
        /// Bits.
        pub const LENGTH: u16 = 2;

        /// Bounds of each attribute, by number.
        pub static RULES: [Rule; 3] = [
            Rule { name: "", kind: Kind::Flag, least: 0, most: 0 },
            Rule { name: "address", kind: Kind::Binary, least: 16, most: 16 },
            Rule { name: "length", kind: Kind::U8, least: 0, most: 128 },
        ];
    }

    /// A 5-tuple seen from this host. Protocols without ports have ports 0, 0.
    pub mod flow_id {
        use super::{Kind, Rule};

        /// `local-address`.
        pub const LOCAL_ADDRESS: u16 = 1;
        /// `local-port`.
        pub const LOCAL_PORT: u16 = 2;
        /// `remote-address`.
        pub const REMOTE_ADDRESS: u16 = 3;
        /// `remote-port`.
        pub const REMOTE_PORT: u16 = 4;
        /// `protocol`.
        pub const PROTOCOL: u16 = 5;

        /// Bounds of each attribute, by number.
        pub static RULES: [Rule; 6] = [
            Rule { name: "", kind: Kind::Flag, least: 0, most: 0 },
            Rule { name: "local-address", kind: Kind::Binary, least: 16, most: 16 },
            Rule { name: "local-port", kind: Kind::U16, least: 0, most: 65535 },
            Rule { name: "remote-address", kind: Kind::Binary, least: 16, most: 16 },
            Rule { name: "remote-port", kind: Kind::U16, least: 0, most: 65535 },
            Rule { name: "protocol", kind: Kind::U8, least: 0, most: 255 },
        ];
    }

    /// A measured delay, nanoseconds.
    pub mod delay {
        use super::{Kind, Rule};

        /// `samples`.
        pub const SAMPLES: u16 = 1;
        /// `last`.
        pub const LAST: u16 = 2;
        /// `min`.
        pub const MIN: u16 = 3;
        /// `smoothed`.
        pub const SMOOTHED: u16 = 4;
        /// `max`.
        pub const MAX: u16 = 5;

        /// Bounds of each attribute, by number.
        pub static RULES: [Rule; 6] = [
            Rule { name: "", kind: Kind::Flag, least: 0, most: 0 },
            Rule { name: "samples", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "last", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "min", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "smoothed", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "max", kind: Kind::Uint, least: 0, most: 0 },
        ];
    }

    /// Attributes of `skip-count`.
    pub mod skip_count {
        use super::{Kind, Rule};

        /// `reason`.
        pub const REASON: u16 = 1;
        /// `packets`.
        pub const PACKETS: u16 = 2;

        /// Bounds of each attribute, by number.
        pub static RULES: [Rule; 3] = [
            Rule { name: "", kind: Kind::Flag, least: 0, most: 0 },
            Rule { name: "reason", kind: Kind::U32, least: 0, most: 4294967295 },
            Rule { name: "packets", kind: Kind::Uint, least: 0, most: 0 },
        ];
    }

    /// Attributes of `refusal-count`.
    pub mod refusal_count {
        use super::{Kind, Rule};

        /// `reason`.
        pub const REASON: u16 = 1;
        /// `options`.
        pub const OPTIONS: u16 = 2;

        /// Bounds of each attribute, by number.
        pub static RULES: [Rule; 3] = [
            Rule { name: "", kind: Kind::Flag, least: 0, most: 0 },
            Rule { name: "reason", kind: Kind::U32, least: 0, most: 4294967295 },
            Rule { name: "options", kind: Kind::Uint, least: 0, most: 0 },
        ];
    }

    /// Attributes of `association`.
    pub mod association {
        use super::{Kind, Rule};

        /// `name`.
        pub const NAME: u16 = 1;
        /// Absent means v2. Refused with EOPNOTSUPP where the module does not have it.
        pub const PROFILE: u16 = 2;
        /// `key-mode`.
        pub const KEY_MODE: u16 = 3;
        /// `on-failure`.
        pub const ON_FAILURE: u16 = 4;
        /// The interface that link-local addresses of this association are bound to, or 0.
        pub const IFINDEX: u16 = 5;
        /// `local`.
        pub const LOCAL: u16 = 6;
        /// `remote`.
        pub const REMOTE: u16 = 7;
        /// Seconds after which the peer forgets an idle flow; receive state here lives at least twice as long.
        pub const PEER_IDLE: u16 = 8;
        /// The secrets held now (answers only).
        pub const SECRET: u16 = 9;
        /// Options after which an epoch ends. Absent, it ends when the PSN wraps, as it always does at the latest. Set alike on both hosts, so that each has the other's next key before it is needed.
        pub const EPOCH_PACKETS: u16 = 10;
        /// Seconds after which an epoch ends, likewise.
        pub const EPOCH_SECONDS: u16 = 11;
        /// The VRF device that addresses other than link-local are bound to; absent or 0, those of no VRF are meant.
        pub const VRF: u16 = 12;
        /// Options sealed under a secret after which another is to be negotiated; absent, their number does not matter.
        pub const RENEW_PACKETS: u16 = 13;

        /// Bounds of each attribute, by number.
        pub static RULES: [Rule; 14] = [
            Rule { name: "", kind: Kind::Flag, least: 0, most: 0 },
            Rule { name: "name", kind: Kind::Text, least: 1, most: 63 },
            Rule { name: "profile", kind: Kind::U8, least: 2, most: 3 },
            Rule { name: "key-mode", kind: Kind::U8, least: 0, most: 1 },
            Rule { name: "on-failure", kind: Kind::U8, least: 0, most: 1 },
            Rule { name: "ifindex", kind: Kind::U32, least: 0, most: 4294967295 },
            Rule { name: "local", kind: Kind::Nest, least: 0, most: 0 },
            Rule { name: "remote", kind: Kind::Nest, least: 0, most: 0 },
            Rule { name: "peer-idle", kind: Kind::U32, least: 0, most: 86400 },
            Rule { name: "secret", kind: Kind::Nest, least: 0, most: 0 },
            Rule { name: "epoch-packets", kind: Kind::U32, least: 1, most: 65535 },
            Rule { name: "epoch-seconds", kind: Kind::U32, least: 1, most: 86400 },
            Rule { name: "vrf", kind: Kind::U32, least: 0, most: 4294967295 },
            Rule { name: "renew-packets", kind: Kind::U64, least: 1, most: 18446744073709551615 },
        ];
    }

    /// Attributes of `secret`.
    pub mod secret {
        use super::{Kind, Rule};

        /// `association`.
        pub const ASSOCIATION: u16 = 1;
        /// `generation`.
        pub const GENERATION: u16 = 2;
        /// The public identifier derived from the secret.
        pub const ID: u16 = 3;
        /// Key encapsulation mechanism, by its number in the HPKE registry; it enters the key schedule.
        pub const KEM: u16 = 4;
        /// Key derivation function, by its HPKE number; 1 or 3.
        pub const KDF: u16 = 5;
        /// Authenticated encryption, by its HPKE number; 1, 2 or 3.
        pub const AEAD: u16 = 6;
        /// Seconds.
        pub const LIFETIME: u16 = 7;
        /// The pseudo-random key, for key mode kernel (requests only).
        pub const PRK: u16 = 8;
        /// `state`.
        pub const STATE: u16 = 9;
        /// This secret was never sent under from these local prefixes since the module was loaded.
        pub const MAY_SEND: u16 = 10;
        /// Highest epoch, or Kri, sent under so far, over all flows.
        pub const HIGHEST_EPOCH: u16 = 11;
        /// Options sealed under it.
        pub const OPTIONS_OUT: u16 = 12;
        /// The lowest epoch that may be sent in; absent, 0.
        pub const EPOCH_FIRST: u16 = 13;
        /// The highest epoch that may be sent in; absent, every epoch from the first on may be.
        pub const EPOCH_LAST: u16 = 14;

        /// Bounds of each attribute, by number.
        pub static RULES: [Rule; 15] = [
            Rule { name: "", kind: Kind::Flag, least: 0, most: 0 },
            Rule { name: "association", kind: Kind::Text, least: 1, most: 63 },
            Rule { name: "generation", kind: Kind::U64, least: 0, most: 18446744073709551615 },
            Rule { name: "id", kind: Kind::Binary, least: 8, most: 8 },
            Rule { name: "kem", kind: Kind::U16, least: 1, most: 65535 },
            Rule { name: "kdf", kind: Kind::U16, least: 0, most: 65535 },
            Rule { name: "aead", kind: Kind::U16, least: 0, most: 65535 },
            Rule { name: "lifetime", kind: Kind::U32, least: 1, most: 4294967295 },
            Rule { name: "prk", kind: Kind::Binary, least: 0, most: 64 },
            Rule { name: "state", kind: Kind::U8, least: 0, most: 255 },
            Rule { name: "may-send", kind: Kind::Flag, least: 0, most: 0 },
            Rule { name: "highest-epoch", kind: Kind::U32, least: 0, most: 4294967295 },
            Rule { name: "options-out", kind: Kind::U64, least: 0, most: 18446744073709551615 },
            Rule { name: "epoch-first", kind: Kind::U32, least: 0, most: 4095 },
            Rule { name: "epoch-last", kind: Kind::U32, least: 0, most: 4095 },
        ];
    }

    /// Attributes of `key`.
    pub mod key {
        use super::{Kind, Rule};

        /// `association`.
        pub const ASSOCIATION: u16 = 1;
        /// `generation`.
        pub const GENERATION: u16 = 2;
        /// `direction`.
        pub const DIRECTION: u16 = 3;
        /// `flow`.
        pub const FLOW: u16 = 4;
        /// At most epoch-max; Kri, in profile v2-kri, may be any.
        pub const EPOCH: u16 = 5;
        /// AEAD key (requests only).
        pub const KEY: u16 = 6;
        /// AEAD base nonce (requests only).
        pub const BASE_NONCE: u16 = 7;

        /// Bounds of each attribute, by number.
        pub static RULES: [Rule; 8] = [
            Rule { name: "", kind: Kind::Flag, least: 0, most: 0 },
            Rule { name: "association", kind: Kind::Text, least: 1, most: 63 },
            Rule { name: "generation", kind: Kind::U64, least: 0, most: 18446744073709551615 },
            Rule { name: "direction", kind: Kind::U8, least: 0, most: 1 },
            Rule { name: "flow", kind: Kind::Nest, least: 0, most: 0 },
            Rule { name: "epoch", kind: Kind::U32, least: 0, most: 4294967295 },
            Rule { name: "key", kind: Kind::Binary, least: 0, most: 32 },
            Rule { name: "base-nonce", kind: Kind::Binary, least: 12, most: 12 },
        ];
    }

    /// Attributes of `rule`.
    pub mod rule {
        use super::{Kind, Rule};

        /// Absent means any.
        pub const LOCAL: u16 = 1;
        /// Absent means any.
        pub const REMOTE: u16 = 2;
        /// Absent means TCP, UDP and ICMPv6 echo.
        pub const PROTOCOL: u16 = 3;
        /// `local-port-first`.
        pub const LOCAL_PORT_FIRST: u16 = 4;
        /// `local-port-last`.
        pub const LOCAL_PORT_LAST: u16 = 5;
        /// `remote-port-first`.
        pub const REMOTE_PORT_FIRST: u16 = 6;
        /// `remote-port-last`.
        pub const REMOTE_PORT_LAST: u16 = 7;
        /// Absent means both.
        pub const DIRECTION: u16 = 8;
        /// `send`.
        pub const SEND: u16 = 9;
        /// Absent means what send says.
        pub const ACCEPT: u16 = 10;
        /// Send the option in every Nth packet; absent means every packet.
        pub const SAMPLE: u16 = 11;
        /// Answer with the mechanism the peer used, if accept allows it.
        pub const MIRROR: u16 = 12;
        /// Seconds until the rule stops by itself; 0 is never, absent 3600. In answers, the seconds left.
        pub const EXPIRY: u16 = 13;
        /// Packets this rule decided (answers only).
        pub const HITS: u16 = 14;
        /// Of plain options, as nothing on the wire tells; absent means v2. Encrypted ones follow their association.
        pub const PROFILE: u16 = 15;

        /// Bounds of each attribute, by number.
        pub static RULES: [Rule; 16] = [
            Rule { name: "", kind: Kind::Flag, least: 0, most: 0 },
            Rule { name: "local", kind: Kind::Nest, least: 0, most: 0 },
            Rule { name: "remote", kind: Kind::Nest, least: 0, most: 0 },
            Rule { name: "protocol", kind: Kind::U8, least: 0, most: 255 },
            Rule { name: "local-port-first", kind: Kind::U16, least: 0, most: 65535 },
            Rule { name: "local-port-last", kind: Kind::U16, least: 0, most: 65535 },
            Rule { name: "remote-port-first", kind: Kind::U16, least: 0, most: 65535 },
            Rule { name: "remote-port-last", kind: Kind::U16, least: 0, most: 65535 },
            Rule { name: "direction", kind: Kind::U8, least: 1, most: 3 },
            Rule { name: "send", kind: Kind::U8, least: 0, most: 3 },
            Rule { name: "accept", kind: Kind::U8, least: 0, most: 15 },
            Rule { name: "sample", kind: Kind::U32, least: 1, most: 4294967295 },
            Rule { name: "mirror", kind: Kind::Flag, least: 0, most: 0 },
            Rule { name: "expiry", kind: Kind::U32, least: 0, most: 4294967295 },
            Rule { name: "hits", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "profile", kind: Kind::U8, least: 2, most: 3 },
        ];
    }

    /// Attributes of `policy`.
    pub mod policy {
        use super::{Kind, Rule};

        /// Neither send nor accept plain mechanisms, whatever the rules say.
        pub const FORBID_PLAIN: u16 = 1;
        /// In order; the first that matches decides.
        pub const RULE: u16 = 2;
        /// `flows-max`.
        pub const FLOWS_MAX: u16 = 3;
        /// Seconds after which an idle flow may be dropped.
        pub const IDLE: u16 = 4;
        /// Seconds without a packet after which a flow gives up its send times, histograms and prepared keys. They are made anew when it goes on.
        pub const REST: u16 = 5;
        /// Bytes the flows of this namespace may take in all, with their keys and pending entries. The last eighth is for flows whose peer answered or authenticated. The module parameter memory_max bounds the sum over all namespaces.
        pub const MEMORY: u16 = 6;
        /// `associations-max`.
        pub const ASSOCIATIONS_MAX: u16 = 7;
        /// Most flows known from unauthenticated packets alone. When it changes, those held are dropped.
        pub const PENDING_MAX: u16 = 8;
        /// ACQUIRE messages a second; twice as many at once.
        pub const ACQUIRE_RATE: u16 = 9;
        /// Events a second; twice as many at once.
        pub const EVENT_RATE: u16 = 10;
        /// Keys a second that are asked for or derived on behalf of unauthenticated packets, apart from acquire-rate; twice as many at once.
        pub const STRANGER_RATE: u16 = 11;

        /// Bounds of each attribute, by number.
        pub static RULES: [Rule; 12] = [
            Rule { name: "", kind: Kind::Flag, least: 0, most: 0 },
            Rule { name: "forbid-plain", kind: Kind::Flag, least: 0, most: 0 },
            Rule { name: "rule", kind: Kind::Nest, least: 0, most: 0 },
            Rule { name: "flows-max", kind: Kind::U32, least: 1, most: 1048576 },
            Rule { name: "idle", kind: Kind::U32, least: 1, most: 86400 },
            Rule { name: "rest", kind: Kind::U32, least: 1, most: 86400 },
            Rule { name: "memory", kind: Kind::U64, least: 0, most: 18446744073709551615 },
            Rule { name: "associations-max", kind: Kind::U32, least: 1, most: 65536 },
            Rule { name: "pending-max", kind: Kind::U32, least: 1, most: 65536 },
            Rule { name: "acquire-rate", kind: Kind::U32, least: 1, most: 65536 },
            Rule { name: "event-rate", kind: Kind::U32, least: 1, most: 65536 },
            Rule { name: "stranger-rate", kind: Kind::U32, least: 1, most: 65536 },
        ];
    }

    /// Attributes of `flow`.
    pub mod flow {
        use super::{Kind, Rule};

        /// `id`.
        pub const ID: u16 = 1;
        /// What this host sends on the flow.
        pub const MECHANISM: u16 = 2;
        /// What the peer last sent.
        pub const RECEIVED_MECHANISM: u16 = 3;
        /// `association`.
        pub const ASSOCIATION: u16 = 4;
        /// `generation`.
        pub const GENERATION: u16 = 5;
        /// `send-epoch`.
        pub const SEND_EPOCH: u16 = 6;
        /// `receive-epoch`.
        pub const RECEIVE_EPOCH: u16 = 7;
        /// The peer named a PSN of ours, so it saw our packets.
        pub const VERIFIED: u16 = 8;
        /// Known from unauthenticated packets alone.
        pub const PENDING: u16 = 9;
        /// `packets-out`.
        pub const PACKETS_OUT: u16 = 10;
        /// `packets-in`.
        pub const PACKETS_IN: u16 = 11;
        /// `options-out`.
        pub const OPTIONS_OUT: u16 = 12;
        /// Options that arrived, accepted or not.
        pub const OPTIONS_IN: u16 = 13;
        /// `accepted`.
        pub const ACCEPTED: u16 = 14;
        /// Options the peer sent that did not arrive, by its PSNs.
        pub const LOST: u16 = 15;
        /// `reordered`.
        pub const REORDERED: u16 = 16;
        /// Options that arrived more than once; none of them is accepted twice.
        pub const DUPLICATED: u16 = 17;
        /// Round-trip time of the network, without the peer's processing.
        pub const RTT: u16 = 18;
        /// Time the peer took from our packet to its answer.
        pub const SERVER_DELAY: u16 = 19;
        /// `refused`.
        pub const REFUSED: u16 = 20;
        /// `skipped`.
        pub const SKIPPED: u16 = 21;
        /// Milliseconds since the flow's last packet.
        pub const IDLE: u16 = 22;
        /// The first packet this host saw was its own.
        pub const OUTBOUND: u16 = 23;
        /// Samples of the round-trip time by bucket, up to the last that has any; absent once the flow rests.
        pub const RTT_HISTOGRAM: u16 = 24;
        /// Samples of the server delay, likewise.
        pub const SERVER_DELAY_HISTOGRAM: u16 = 25;
        /// Packets that came without the option that the peer put into those before.
        pub const MISSING: u16 = 26;

        /// Bounds of each attribute, by number.
        pub static RULES: [Rule; 27] = [
            Rule { name: "", kind: Kind::Flag, least: 0, most: 0 },
            Rule { name: "id", kind: Kind::Nest, least: 0, most: 0 },
            Rule { name: "mechanism", kind: Kind::U8, least: 0, most: 255 },
            Rule { name: "received-mechanism", kind: Kind::U8, least: 0, most: 255 },
            Rule { name: "association", kind: Kind::Text, least: 0, most: 65535 },
            Rule { name: "generation", kind: Kind::U64, least: 0, most: 18446744073709551615 },
            Rule { name: "send-epoch", kind: Kind::U32, least: 0, most: 4294967295 },
            Rule { name: "receive-epoch", kind: Kind::U32, least: 0, most: 4294967295 },
            Rule { name: "verified", kind: Kind::Flag, least: 0, most: 0 },
            Rule { name: "pending", kind: Kind::Flag, least: 0, most: 0 },
            Rule { name: "packets-out", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "packets-in", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "options-out", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "options-in", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "accepted", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "lost", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "reordered", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "duplicated", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "rtt", kind: Kind::Nest, least: 0, most: 0 },
            Rule { name: "server-delay", kind: Kind::Nest, least: 0, most: 0 },
            Rule { name: "refused", kind: Kind::Nest, least: 0, most: 0 },
            Rule { name: "skipped", kind: Kind::Nest, least: 0, most: 0 },
            Rule { name: "idle", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "outbound", kind: Kind::Flag, least: 0, most: 0 },
            Rule { name: "rtt-histogram", kind: Kind::Binary, least: 0, most: 65535 },
            Rule { name: "server-delay-histogram", kind: Kind::Binary, least: 0, most: 65535 },
            Rule { name: "missing", kind: Kind::Uint, least: 0, most: 0 },
        ];
    }

    /// Attributes of `stats`.
    pub mod stats {
        use super::{Kind, Rule};

        /// IPv6 packets sent, on the wire, since the first policy.
        pub const PACKETS_OUT: u16 = 1;
        /// `options-out`.
        pub const OPTIONS_OUT: u16 = 2;
        /// `options-in`.
        pub const OPTIONS_IN: u16 = 3;
        /// `accepted`.
        pub const ACCEPTED: u16 = 4;
        /// `negative-deltas`.
        pub const NEGATIVE_DELTAS: u16 = 5;
        /// `skipped`.
        pub const SKIPPED: u16 = 6;
        /// `refused`.
        pub const REFUSED: u16 = 7;
        /// Flows held now.
        pub const FLOWS: u16 = 8;
        /// Pending entries held now.
        pub const PENDING: u16 = 9;
        /// Flows that ended, for whatever reason.
        pub const FLOWS_DROPPED: u16 = 10;
        /// ACQUIRE messages sent.
        pub const ACQUIRES: u16 = 11;
        /// Received SYN and SYN-ACK whose MSS was lowered.
        pub const MSS_CLAMPED: u16 = 12;
        /// The next GLOBALPTR for global sources.
        pub const GLOBAL_POINTER: u16 = 13;
        /// The next GLOBALPTR for link-local sources.
        pub const GLOBAL_POINTER_LINK_LOCAL: u16 = 14;
        /// Events told to whoever listened.
        pub const EVENTS: u16 = 15;
        /// Events not told, as there were too many.
        pub const EVENTS_SUPPRESSED: u16 = 16;
        /// Bytes the flows take now, with their keys and pending entries.
        pub const MEMORY: u16 = 17;
        /// Flows that were dropped to make room for others; flows-dropped has them too.
        pub const FLOWS_EVICTED: u16 = 18;

        /// Bounds of each attribute, by number.
        pub static RULES: [Rule; 19] = [
            Rule { name: "", kind: Kind::Flag, least: 0, most: 0 },
            Rule { name: "packets-out", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "options-out", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "options-in", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "accepted", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "negative-deltas", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "skipped", kind: Kind::Nest, least: 0, most: 0 },
            Rule { name: "refused", kind: Kind::Nest, least: 0, most: 0 },
            Rule { name: "flows", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "pending", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "flows-dropped", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "acquires", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "mss-clamped", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "global-pointer", kind: Kind::U32, least: 0, most: 4294967295 },
            Rule { name: "global-pointer-link-local", kind: Kind::U32, least: 0, most: 4294967295 },
            Rule { name: "events", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "events-suppressed", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "memory", kind: Kind::Uint, least: 0, most: 0 },
            Rule { name: "flows-evicted", kind: Kind::Uint, least: 0, most: 0 },
        ];
    }

    /// Attributes of `notice`.
    pub mod notice {
        use super::{Kind, Rule};

        /// `event`.
        pub const EVENT: u16 = 1;
        /// `association`.
        pub const ASSOCIATION: u16 = 2;
        /// `generation`.
        pub const GENERATION: u16 = 3;
        /// `flow`.
        pub const FLOW: u16 = 4;
        /// `reason`.
        pub const REASON: u16 = 5;
        /// `count`.
        pub const COUNT: u16 = 6;

        /// Bounds of each attribute, by number.
        pub static RULES: [Rule; 7] = [
            Rule { name: "", kind: Kind::Flag, least: 0, most: 0 },
            Rule { name: "event", kind: Kind::U8, least: 0, most: 255 },
            Rule { name: "association", kind: Kind::Text, least: 0, most: 65535 },
            Rule { name: "generation", kind: Kind::U64, least: 0, most: 18446744073709551615 },
            Rule { name: "flow", kind: Kind::Nest, least: 0, most: 0 },
            Rule { name: "reason", kind: Kind::U32, least: 0, most: 4294967295 },
            Rule { name: "count", kind: Kind::Uint, least: 0, most: 0 },
        ];
    }
}
