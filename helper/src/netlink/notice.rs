// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Events the module tells.

use pdmv2_proto::flow_id::FlowId;
use pdmv2_proto::uapi::attr::notice as attr;
use pdmv2_proto::uapi::{Event, Refusal};

use super::association::named;
use super::attribute::Attributes;
use super::error::Malformed;
use super::flow_id::get_flow_id;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What happened; `None` for what is newer than this program.
    pub event: Option<Event>,
    /// Name of the association it concerns.
    pub association: Option<String>,
    /// Generation it concerns.
    pub generation: Option<u64>,
    /// Flow it concerns.
    pub flow: Option<FlowId>,
    /// Reason of a refusal, by the specification's name.
    pub reason: Option<String>,
    /// How often.
    pub count: Option<u64>,
}

impl Notice {
    /// Reads an event.
    ///
    /// # Errors
    /// An attribute of a wrong length.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut notice =
            Self { event: None, association: None, generation: None, flow: None, reason: None, count: None };
        for attribute in Attributes(bytes) {
            let attribute = attribute?;
            match attribute.kind {
                attr::EVENT => notice.event = Event::from_u8(attribute.u8()?),
                attr::ASSOCIATION => notice.association = Some(attribute.text()?),
                attr::GENERATION => notice.generation = Some(attribute.uint()?),
                attr::FLOW => notice.flow = Some(get_flow_id(attribute.nest())?),
                attr::REASON => notice.reason = Some(named(attribute.u32()?, refusal_name)),
                attr::COUNT => notice.count = Some(attribute.uint()?),
                _ => {}
            }
        }
        Ok(notice)
    }
}

/// A refusal's name.
pub fn refusal_name(value: u32) -> Option<&'static str> {
    Refusal::ALL.into_iter().find(|refusal| *refusal as u32 == value).map(Refusal::name)
}

#[cfg(test)]
mod tests {
    use super::super::attribute::Builder;
    use super::*;

    #[test]
    fn reads_an_event() {
        let mut builder = Builder::default();
        builder.u8(attr::EVENT, Event::Authenticated as u8).text(attr::ASSOCIATION, "b").u64(attr::GENERATION, 3);
        let notice = Notice::decode(&builder.into_bytes()).unwrap();
        assert_eq!(notice.event, Some(Event::Authenticated));
        assert_eq!((notice.association.as_deref(), notice.generation), (Some("b"), Some(3)));
    }
}
