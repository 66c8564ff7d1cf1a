// SPDX-License-Identifier: GPL-2.0-only

//! The attributes of a request, checked against the specification's bounds. What is wrong is told by name and place.

use crate::proto::flow_id::FlowId;
use crate::proto::prefix::Prefix;
use crate::proto::uapi::{attr, Kind, Profile, Rule};
use crate::sys::genl::Request;
use kernel::prelude::*;

const HEADER_LEN: usize = 4;
/// Flags in an attribute's number: nested, network byte order.
const NUMBER_MASK: u16 = 0x3fff;

/// One attribute.
#[derive(Clone, Copy)]
pub(crate) struct Attribute<'a> {
    request: &'a Request<'a>,
    rule: &'static Rule,
    number: u16,
    /// Offset of its header in the request's payload.
    at: usize,
    value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// Says that this attribute is wrong, and why.
    pub(crate) fn wrong(&self, why: core::fmt::Arguments<'_>) -> Error {
        self.request.explain(Some(self.at), format_args!("{}: {}", self.rule.name, why));
        EINVAL
    }

    /// Says that this attribute is right but cannot be had, with the error that says so.
    pub(crate) fn refuse(&self, why: &str, error: Error) -> Error {
        self.wrong(format_args!("{why}"));
        error
    }

    fn number_value(&self) -> u64 {
        match self.value {
            [a] => u64::from(*a),
            [a, b] => u64::from(u16::from_ne_bytes([*a, *b])),
            [a, b, c, d] => u64::from(u32::from_ne_bytes([*a, *b, *c, *d])),
            _ => <[u8; 8]>::try_from(self.value).map_or(0, u64::from_ne_bytes),
        }
    }

    fn check(&self) -> Result {
        let len = match self.rule.kind {
            Kind::U8 => 1,
            Kind::U16 => 2,
            Kind::U32 => 4,
            Kind::U64 => 8,
            Kind::Uint if matches!(self.value.len(), 4 | 8) => self.value.len(),
            Kind::Uint => 4,
            Kind::Flag => 0,
            Kind::Nest => return Ok(()),
            Kind::Binary | Kind::Text => {
                let len = self.bytes().len() as u64;
                if len < self.rule.least || len > self.rule.most {
                    let (least, most) = (self.rule.least, self.rule.most);
                    return Err(self.wrong(format_args!("{len} bytes, not {least} to {most}")));
                }
                return Ok(());
            }
        };
        if self.value.len() != len {
            return Err(self.wrong(format_args!("{} bytes, not {len}", self.value.len())));
        }
        let value = self.number_value();
        let bounded = matches!(self.rule.kind, Kind::U8 | Kind::U16 | Kind::U32 | Kind::U64);
        if bounded && (value < self.rule.least || value > self.rule.most) {
            return Err(self.wrong(format_args!("{value} is not within {} to {}", self.rule.least, self.rule.most)));
        }
        Ok(())
    }

    /// An 8-bit integer.
    pub(crate) fn u8(&self) -> u8 {
        self.number_value() as u8
    }

    /// A 16-bit integer.
    pub(crate) fn u16(&self) -> u16 {
        self.number_value() as u16
    }

    /// A 32-bit integer.
    pub(crate) fn u32(&self) -> u32 {
        self.number_value() as u32
    }

    /// A 64-bit integer.
    pub(crate) fn u64(&self) -> u64 {
        self.number_value()
    }

    /// Bytes; text without the zero byte it ends in.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        match (self.rule.kind, self.value) {
            (Kind::Text, [text @ .., 0]) => text,
            (_, value) => value,
        }
    }

    /// Bytes of a length that was checked.
    pub(crate) fn array<const N: usize>(&self) -> Result<[u8; N]> {
        self.value.try_into().map_err(|_| self.wrong(format_args!("{} bytes, not {N}", self.value.len())))
    }

    /// The attributes inside.
    pub(crate) fn nest(&self, rules: &'static [Rule]) -> Result<Attributes<'a>> {
        let from = self.at + HEADER_LEN;
        Attributes::parse(self.request, from, from + self.value.len(), rules, Some(self))
    }
}

/// Attributes of one set.
pub(crate) struct Attributes<'a> {
    request: &'a Request<'a>,
    rules: &'static [Rule],
    from: usize,
    to: usize,
    /// Where the set stands, for what is missing in it.
    at: Option<usize>,
    set: &'static str,
}

impl<'a> Attributes<'a> {
    /// The attributes of a request.
    pub(crate) fn of(request: &'a Request<'a>, rules: &'static [Rule]) -> Result<Self> {
        Self::parse(request, 0, request.payload().len(), rules, None)
    }

    fn parse(
        request: &'a Request<'a>,
        from: usize,
        to: usize,
        rules: &'static [Rule],
        nest: Option<&Attribute<'_>>,
    ) -> Result<Self> {
        let set = nest.map_or("request", |nest| nest.rule.name);
        let attributes = Self { request, rules, from, to, at: nest.map(|nest| nest.at), set };
        let mut at = from;
        while at < to {
            let (attribute, next) = attributes.read(at)?;
            attribute.check()?;
            at = next;
        }
        Ok(attributes)
    }

    /// The attribute at an offset, and the offset of the next.
    fn read(&self, at: usize) -> Result<(Attribute<'a>, usize)> {
        let payload = self.request.payload();
        let damaged = || {
            self.request.explain(Some(at), format_args!("{}: attributes overrun their length", self.set));
            EINVAL
        };
        let inside = payload.get(at..self.to).ok_or_else(damaged)?;
        let [a, b, c, d, ..] = inside else { return Err(damaged()) };
        let (len, number) = (usize::from(u16::from_ne_bytes([*a, *b])), u16::from_ne_bytes([*c, *d]) & NUMBER_MASK);
        let value = inside.get(HEADER_LEN..len).ok_or_else(damaged)?;
        let Some(rule) = self.rules.get(usize::from(number)).filter(|_| number != 0) else {
            self.request.explain(Some(at), format_args!("{}: no attribute has number {number}", self.set));
            return Err(EINVAL);
        };
        let next = at + len.next_multiple_of(HEADER_LEN);
        Ok((Attribute { request: self.request, rule, number, at, value }, next))
    }

    /// Every attribute of a number, in order.
    pub(crate) fn all(&self, number: u16) -> impl Iterator<Item = Attribute<'a>> + '_ {
        let mut at = self.from;
        core::iter::from_fn(move || {
            // Parsed before, so that nothing is damaged here.
            let (attribute, next) = if at < self.to { self.read(at).ok()? } else { return None };
            at = next;
            Some(attribute)
        })
        .filter(move |attribute| attribute.number == number)
    }

    /// An attribute, if it is there; the last one counts.
    pub(crate) fn get(&self, number: u16) -> Option<Attribute<'a>> {
        self.all(number).last()
    }

    /// Whether a flag is set.
    pub(crate) fn flag(&self, number: u16) -> bool {
        self.get(number).is_some()
    }

    /// An attribute that must be there.
    pub(crate) fn need(&self, number: u16) -> Result<Attribute<'a>> {
        self.get(number).ok_or_else(|| {
            let name = self.rules.get(usize::from(number)).map_or("", |rule| rule.name);
            self.request.explain(self.at, format_args!("{}: {name} is missing", self.set));
            EINVAL
        })
    }
}

/// A prefix.
pub(crate) fn prefix(attribute: &Attribute<'_>) -> Result<Prefix> {
    let inside = attribute.nest(&attr::prefix::RULES)?;
    let address = inside.need(attr::prefix::ADDRESS)?.array()?;
    let length = inside.need(attr::prefix::LENGTH)?;
    Prefix::new(address, length.u8())
        .ok_or_else(|| length.wrong(format_args!("the address has bits behind the prefix")))
}

/// A wire profile; `v2` if there is none.
pub(crate) fn profile(attribute: Option<Attribute<'_>>) -> Profile {
    attribute.and_then(|profile| Profile::from_u8(profile.u8())).unwrap_or(Profile::V2)
}

/// A 5-tuple.
pub(crate) fn flow_id(attribute: &Attribute<'_>) -> Result<FlowId> {
    use attr::flow_id::*;
    let inside = attribute.nest(&RULES)?;
    Ok(FlowId {
        local: inside.need(LOCAL_ADDRESS)?.array()?,
        remote: inside.need(REMOTE_ADDRESS)?.array()?,
        local_port: inside.need(LOCAL_PORT)?.u16(),
        remote_port: inside.need(REMOTE_PORT)?.u16(),
        protocol: inside.need(PROTOCOL)?.u8(),
    })
}
