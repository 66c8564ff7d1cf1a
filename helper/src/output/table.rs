// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Text in columns.

use std::net::{Ipv6Addr, SocketAddrV6};

use super::protocol;
use super::view::{Overview, PolicyView, RuleView};
use crate::control::Status;
use crate::netlink::association::AssociationInfo;
use crate::netlink::flow::{Delay, Flow};
use crate::netlink::policy::{Limits, Ports};
use crate::netlink::secret::HeldSecret;
use crate::prefix::Prefix;

/// Rows under a heading, columns as wide as their widest cell and two spaces apart; numbers to the right.
fn columns(headings: &[(&str, bool)], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = headings
        .iter()
        .enumerate()
        .map(|(at, (heading, _))| {
            let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
            cells.chain([heading.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.into_iter().zip(&widths).zip(headings).map(|((cell, width), (_, right))| match right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    let mut text = line(headings.iter().map(|(heading, _)| *heading).collect());
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

/// `pdmv2 show`.
pub fn overview(view: &Overview) -> String {
    let mut text = String::new();
    if !view.associations.is_empty() {
        text.push_str("Associations\n");
        text.push_str(&associations(&view.associations));
        text.push('\n');
    }
    if view.flows.is_empty() {
        text.push_str(match (view.rules, view.associations.is_empty()) {
            (0, _) => {
                "Nothing is measured in this network namespace: it has no rules.\n\
                 Start `pdmv2 daemon --config FILE`, or load rules with `pdmv2 policy set FILE`.\n"
            }
            (_, true) => {
                "No flow yet: no packet matched a rule. `pdmv2 policy` shows the rules.\n\
                 Encrypted options need an association: start `pdmv2 daemon --config FILE`.\n"
            }
            (_, false) => "No flow yet: no packet matched a rule. `pdmv2 policy` shows the rules; send some traffic.\n",
        });
    } else {
        text.push_str("Flows\n");
        text.push_str(&flows(&view.flows));
    }
    text
}

/// The table of associations, a row for each secret.
pub fn associations(list: &[AssociationInfo]) -> String {
    let mut rows = Vec::new();
    for association in list {
        let names = [
            association.name.clone(),
            join(&association.local),
            join(&association.remote),
            association.key_mode.clone(),
        ];
        if association.secrets.is_empty() {
            rows.push(names.iter().cloned().chain(["-", "no secret yet", "-", "-", "-"].map(str::to_owned)).collect());
        }
        for secret in &association.secrets {
            let rest = [
                secret.generation.to_string(),
                secret.state.clone(),
                epoch(secret),
                secret.id.clone(),
                secret.suite.clone(),
            ];
            rows.push(names.iter().cloned().chain(rest).collect());
        }
    }
    let headings = [
        ("name", false),
        ("local", false),
        ("remote", false),
        ("keys by", false),
        ("generation", true),
        ("state", false),
        ("epoch", true),
        ("secret", false),
        ("suite", false),
    ];
    columns(&headings, &rows)
}

/// The highest epoch sent in, and in which ones may be.
fn epoch(secret: &HeldSecret) -> String {
    let Some(highest) = secret.highest_epoch else { return "-".into() };
    match (secret.epoch_first, secret.epoch_last) {
        (Some(first), Some(last)) => format!("{highest} ({first}-{last})"),
        _ => highest.to_string(),
    }
}

/// `pdmv2 status`.
pub fn status(status: &Status) -> String {
    if status.peers.is_empty() {
        return "The daemon has no peers.\n".to_owned();
    }
    let seconds = |seconds: Option<u64>| seconds.map_or("-".into(), |seconds| format!("{seconds} s"));
    let rows: Vec<_> = (status.peers.iter())
        .map(|peer| {
            vec![
                peer.peer.clone(),
                peer.endpoint.clone().unwrap_or_else(|| "it dials".into()),
                seconds(peer.session),
                peer.generation.map_or("-".into(), |generation| generation.to_string()),
                seconds(peer.renews_in),
                seconds(peer.dials_in),
                peer.last_error.clone().unwrap_or_else(|| "-".into()),
            ]
        })
        .collect();
    let headings = [
        ("peer", false),
        ("endpoint", false),
        ("session for", true),
        ("generation", true),
        ("renewed in", true),
        ("dialled in", true),
        ("last error", false),
    ];
    columns(&headings, &rows)
}

/// The table of flows.
pub fn flows(list: &[Flow]) -> String {
    let rows: Vec<_> = list.iter().map(flow).collect();
    let headings = [
        ("local", false),
        ("remote", false),
        ("proto", false),
        ("mechanism", false),
        ("out", true),
        ("in", true),
        ("lost", true),
        ("RTT ms", true),
        ("server ms", true),
        ("refused", true),
    ];
    columns(&headings, &rows)
}

fn flow(flow: &Flow) -> Vec<String> {
    let received = flow.received_mechanism.as_deref().unwrap_or(&flow.mechanism);
    vec![
        endpoint(flow.id.local, flow.id.local_port, flow.id.protocol),
        endpoint(flow.id.remote, flow.id.remote_port, flow.id.protocol),
        protocol::name(flow.id.protocol),
        if received == flow.mechanism { flow.mechanism.clone() } else { format!("{}/{received}", flow.mechanism) },
        flow.packets_out.to_string(),
        flow.packets_in.to_string(),
        loss(flow),
        milliseconds(flow.rtt),
        milliseconds(flow.server_delay),
        flow.refused_total().to_string(),
    ]
}

/// An address, with its port where the protocol has any.
pub(super) fn endpoint(address: [u8; 16], port: u16, protocol: u8) -> String {
    let address = Ipv6Addr::from(address);
    if pdmv2_proto::flow_id::FlowId::has_ports(protocol) {
        SocketAddrV6::new(address, port, 0, 0).to_string()
    } else {
        address.to_string()
    }
}

/// Options lost, and their share of those the peer sent.
fn loss(flow: &Flow) -> String {
    let sent = flow.lost.saturating_add(flow.accepted);
    match flow.lost {
        0 => "0".into(),
        lost => format!("{lost} ({:.1}%)", 100.0 * lost as f64 / sent as f64),
    }
}

fn milliseconds(delay: Option<Delay>) -> String {
    delay.map_or("-".into(), |delay| format!("{:.3}", delay.smoothed as f64 / 1e6))
}

fn join(prefixes: &[Prefix]) -> String {
    prefixes.iter().map(Prefix::to_string).collect::<Vec<_>>().join(",")
}

/// `pdmv2 policy`.
pub fn policy(view: &PolicyView) -> String {
    if view.rules.is_empty() {
        return format!(
            "No rules: nothing is measured in this network namespace.\n\
             Load some with `pdmv2 policy set FILE`, or start `pdmv2 daemon --config FILE`.\n\n{}",
            limits(&view.limits)
        );
    }
    let rows: Vec<_> = view.rules.iter().enumerate().map(|(at, one)| rule(at + 1, one)).collect();
    let headings = [
        ("rule", true),
        ("local", false),
        ("remote", false),
        ("proto", false),
        ("direction", false),
        ("send", false),
        ("accept", false),
        ("every", true),
        ("expires", true),
        ("hits", true),
    ];
    let mut text = columns(&headings, &rows);
    text.push_str(&format!("\nplain mechanisms {}\n", if view.forbid_plain { "forbidden" } else { "allowed" }));
    text.push_str(&limits(&view.limits));
    text
}

/// A namespace's limits, in two lines.
fn limits(limits: &Limits) -> String {
    let or_default = |value: Option<u64>| value.map_or("default".to_owned(), |value| value.to_string());
    let number = |value: Option<u32>| or_default(value.map(u64::from));
    format!(
        "at most {} flows in {} bytes, {} pending, {} associations; idle flows rest after {} s, may go after {} s\n\
         a second: {} keys asked for, {} for strangers, {} events\n",
        number(limits.flows_max),
        or_default(limits.memory),
        number(limits.pending_max),
        number(limits.associations_max),
        number(limits.rest),
        number(limits.idle),
        number(limits.acquire_rate),
        number(limits.stranger_rate),
        number(limits.event_rate),
    )
}

fn rule(number: usize, rule: &RuleView) -> Vec<String> {
    let side = |prefix: Option<Prefix>, ports: Option<Ports>| {
        let address = prefix.map_or("any".to_owned(), |prefix| prefix.to_string());
        match ports {
            Some(Ports { first, last }) if first == last => format!("{address} port {first}"),
            Some(Ports { first, last }) => format!("{address} ports {first}-{last}"),
            None => address,
        }
    };
    let mirror = if rule.mirror { " (mirror)" } else { "" };
    vec![
        number.to_string(),
        side(rule.local, rule.local_ports),
        side(rule.remote, rule.remote_ports),
        rule.protocol.map_or("tcp,udp,echo".into(), protocol::name),
        rule.direction.to_owned(),
        format!("{}{mirror}", rule.send),
        rule.accept.join(","),
        rule.sample.to_string(),
        rule.expiry.map_or("-".into(), |left| if left == 0 { "never".into() } else { format!("{left} s") }),
        rule.hits.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::stats::Stats;
    use pdmv2_proto::flow_id::FlowId;
    use pdmv2_proto::suite::Suite;

    fn octets(text: &str) -> [u8; 16] {
        text.parse::<Ipv6Addr>().unwrap().octets()
    }

    fn sample() -> Overview {
        let id = FlowId {
            local: octets("fd00::1"),
            remote: octets("fd00::2"),
            local_port: 40000,
            remote_port: 443,
            protocol: 6,
        };
        let tcp = Flow {
            id,
            mechanism: "v2-encrypted".into(),
            received_mechanism: Some("v2-encrypted".into()),
            packets_out: 100,
            packets_in: 99,
            accepted: 99,
            lost: 1,
            rtt: Some(Delay { samples: 9, smoothed: 40_123_456, ..Delay::default() }),
            server_delay: Some(Delay { samples: 9, smoothed: 5_001_000, ..Delay::default() }),
            ..Flow::default()
        };
        let ping = Flow {
            id: FlowId { local_port: 0, remote_port: 0, protocol: 58, ..id },
            mechanism: "v2-encrypted".into(),
            received_mechanism: Some("none".into()),
            packets_out: 1,
            ..Flow::default()
        };
        Overview {
            associations: vec![AssociationInfo {
                name: "b".into(),
                key_mode: "helper".into(),
                local: vec!["fd00::1".parse().unwrap()],
                remote: vec!["fd00::2".parse().unwrap()],
                secrets: vec![HeldSecret {
                    generation: 1,
                    state: "send".into(),
                    id: "0011223344556677".into(),
                    highest_epoch: Some(0),
                    suite: Suite::DEFAULT.to_string(),
                    ..HeldSecret::default()
                }],
                ..AssociationInfo::default()
            }],
            flows: vec![tcp, ping],
            statistics: Stats::default(),
            rules: 1,
        }
    }

    #[test]
    fn the_table() {
        let expected = "\
Associations
name  local    remote   keys by  generation  state  epoch  secret            suite
b     fd00::1  fd00::2  helper            1  send       0  0011223344556677  x25519/hkdf-sha256/aes-128-gcm

Flows
local            remote         proto   mechanism          out  in      lost  RTT ms  server ms  refused
[fd00::1]:40000  [fd00::2]:443  tcp     v2-encrypted       100  99  1 (1.0%)  40.123      5.001        0
fd00::1          fd00::2        icmpv6  v2-encrypted/none    1   0         0       -          -        0
";
        assert_eq!(overview(&sample()), expected);
    }

    #[test]
    fn an_empty_table_says_what_to_do() {
        let empty = Overview { associations: vec![], flows: vec![], rules: 0, ..sample() };
        assert!(overview(&empty).contains("pdmv2 daemon --config FILE"));
        let ruled = Overview { rules: 1, ..empty };
        assert!(overview(&ruled).contains("pdmv2 policy"));
        let idle = Overview { flows: vec![], ..sample() };
        assert!(overview(&idle).contains("send some traffic"));
    }
}
