// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Events, a line each.

use pdmv2_proto::flow_id::FlowId;
use pdmv2_proto::uapi::Event;
use serde::Serialize;

use super::protocol;
use super::table::endpoint;
use crate::netlink::flow::FlowIdText;
use crate::netlink::notice::Notice;

/// An event as JSON has it; what does not concern it is left out.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct View<'a> {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    association: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<FlowView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

#[derive(Serialize)]
struct FlowView(#[serde(with = "FlowIdText")] FlowId);

/// What happened, by the specification's name.
fn name(notice: &Notice) -> &'static str {
    notice.event.map_or("unknown", Event::name)
}

/// One line of JSON, with its end.
///
/// # Errors
/// None for the types of this program.
pub fn json(notice: &Notice) -> Result<String, serde_json::Error> {
    let view = View {
        event: name(notice),
        association: notice.association.as_deref(),
        generation: notice.generation,
        flow: notice.flow.map(FlowView),
        reason: notice.reason.as_deref(),
        count: notice.count,
    };
    serde_json::to_string(&view).map(|line| line + "\n")
}

/// One line of text, with its end.
pub fn text(notice: &Notice) -> String {
    let mut words = vec![name(notice).to_owned()];
    let mut add = |what: &str, value: Option<String>| words.extend(value.map(|value| format!("{what} {value}")));
    add("association", notice.association.clone());
    add("generation", notice.generation.map(|generation| generation.to_string()));
    let flow = notice.flow.map(|id| {
        let side = |address, port| endpoint(address, port, id.protocol);
        let (local, remote) = (side(id.local, id.local_port), side(id.remote, id.remote_port));
        format!("{local} {remote} {}", protocol::name(id.protocol))
    });
    add("flow", flow);
    add("reason", notice.reason.clone());
    add("count", notice.count.map(|count| count.to_string()));
    words.join(" ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let id = FlowId { local: [1; 16], remote: [2; 16], local_port: 5, remote_port: 6, protocol: 6 };
        let none = Notice { event: None, association: None, generation: None, flow: None, reason: None, count: None };
        let refused = Notice {
            event: Some(Event::Refused),
            flow: Some(id),
            reason: Some("replay".into()),
            count: Some(16),
            ..none.clone()
        };
        let (local, remote) = ("101:101:101:101:101:101:101:101", "202:202:202:202:202:202:202:202");
        assert_eq!(text(&refused), format!("refused flow [{local}]:5 [{remote}]:6 tcp reason replay count 16\n"));
        let wanted = format!(
            concat!(
                r#"{{"event":"refused","flow":{{"local-address":"{}","local-port":5,"remote-address":"{}","#,
                r#""remote-port":6,"protocol":6}},"reason":"replay","count":16}}"#
            ),
            local, remote
        );
        assert_eq!(json(&refused).unwrap(), wanted + "\n");
        let first = Notice {
            event: Some(Event::Authenticated),
            association: Some("b".into()),
            generation: Some(3),
            ..none.clone()
        };
        assert_eq!(text(&first), "authenticated association b generation 3\n");
        assert_eq!((text(&none).as_str(), json(&none).unwrap().as_str()), ("unknown\n", "{\"event\":\"unknown\"}\n"));
    }
}
