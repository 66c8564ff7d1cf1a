// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! `pdmv2 events`

use pdmv2_proto::uapi::group;

use super::{print, CliError};
use crate::netlink::listener::{Listener, Told};
use crate::netlink::Client;
use crate::output::{event, Format};

pub fn run(format: Format) -> Result<(), CliError> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(follow(format))
}

async fn follow(format: Format) -> Result<(), CliError> {
    let family = Client::open()?.family();
    let mut listener = Listener::join(family, &family.groups[group::EVENTS..=group::EVENTS])?;
    loop {
        for told in listener.next().await? {
            match (told, format) {
                (Told::Event(notice), Format::Table) => print(&event::text(&notice))?,
                (Told::Event(notice), Format::Json) => print(&event::json(&notice)?)?,
                (Told::Lost, _) => eprintln!("pdmv2: events were lost, as this program was too slow"),
                (Told::Acquire(_), _) => {}
            }
        }
    }
}
