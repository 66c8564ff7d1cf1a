// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! `pdmv2 flow`

use std::net::Ipv6Addr;

use clap::builder::PossibleValuesParser;
use pdmv2_proto::uapi::Mechanism;

use super::{print, CliError};
use crate::netlink::flow::Flow;
use crate::netlink::{Client, Kernel};
use crate::output::{histogram, json, protocol, table, Format};
use crate::prefix::Prefix;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    filter: Filter,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List flows; so does `pdmv2 flow` alone. If there is just one, show how often each delay was how long.
    List(Filter),
    /// Drop every flow; the epochs they used stay used.
    Flush,
}

/// Which flows are listed: those that every given option fits.
#[derive(Debug, Default, clap::Args)]
pub struct Filter {
    /// Only flows of these local addresses.
    #[arg(long, value_name = "PREFIX")]
    local: Option<Prefix>,

    /// Only flows of these remote addresses.
    #[arg(long, value_name = "PREFIX")]
    remote: Option<Prefix>,

    /// Only flows of this protocol: tcp, udp, icmpv6, or a number.
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol::parse)]
    protocol: Option<u8>,

    /// Only flows that have this port on either side.
    #[arg(long)]
    port: Option<u16>,

    /// Only flows on which this is sent.
    #[arg(long, value_parser = PossibleValuesParser::new(Mechanism::ALL.map(Mechanism::name)))]
    mechanism: Option<String>,

    /// Only flows of this association.
    #[arg(long, value_name = "NAME")]
    association: Option<String>,
}

impl Filter {
    fn fits(&self, flow: &Flow) -> bool {
        let within = |prefix: Option<Prefix>, address: [u8; 16]| {
            prefix.is_none_or(|prefix| prefix.contains(Ipv6Addr::from(address)))
        };
        within(self.local, flow.id.local)
            && within(self.remote, flow.id.remote)
            && self.protocol.is_none_or(|protocol| protocol == flow.id.protocol)
            && self.port.is_none_or(|port| port == flow.id.local_port || port == flow.id.remote_port)
            && self.mechanism.as_ref().is_none_or(|mechanism| *mechanism == flow.mechanism)
            && (self.association.is_none() || self.association == flow.association)
    }
}

pub fn run(args: &Args, format: Format) -> Result<(), CliError> {
    let filter = match &args.command {
        Some(Command::Flush) => return Ok(Client::open()?.flow_flush()?),
        Some(Command::List(filter)) => filter,
        None => &args.filter,
    };
    let flows: Vec<Flow> = Client::open()?.flows()?.into_iter().filter(|flow| filter.fits(flow)).collect();
    print(&match format {
        Format::Json => json::render(&flows)?,
        Format::Table if flows.is_empty() => "No such flow.\n".to_owned(),
        Format::Table => match flows.as_slice() {
            [flow] => table::flows(&flows) + &histogram::of(flow),
            _ => table::flows(&flows),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pdmv2_proto::flow_id::FlowId;

    #[test]
    fn every_given_option_must_fit() {
        let flow = Flow {
            id: FlowId { local: [0xfd; 16], remote: [0xfe; 16], local_port: 5, remote_port: 443, protocol: 6 },
            mechanism: "v2".into(),
            association: Some("b".into()),
            ..Flow::default()
        };
        let none = Filter::default();
        assert!(none.fits(&flow));
        assert!(Filter { port: Some(443), protocol: Some(6), ..Filter::default() }.fits(&flow));
        assert!(!Filter { port: Some(443), protocol: Some(17), ..Filter::default() }.fits(&flow));
        assert!(!Filter { local: "fe00::/8".parse().ok(), ..Filter::default() }.fits(&flow));
        assert!(!Filter { mechanism: Some("pdm".into()), ..Filter::default() }.fits(&flow));
        assert!(!Filter { association: Some("c".into()), ..Filter::default() }.fits(&flow));
    }
}
