// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! A pairing as one of its Primaries sees it: lists, PairMasterSecrets, and how their renewal goes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use pdmv2_proto::suite::Suite;
use pdmv2_proto::uapi::Profile;

use super::super::error::ChangeError;
use super::super::group::{Group, GroupName, Pairing, Roster, Side};
use super::super::jitter::part_of;
use super::super::lists::List;
use super::super::message::peer::{Progress, STRAGGLERS_MAX};
use super::super::message::Message;
use super::super::schedule::PairMaster;
use super::super::store::{Ledger, StoreError};
use super::super::{OVERLAP, PREPARE_MAX};
use super::member::Member;
use super::peer::PeerSession;
use super::records::{self, PairRecord};
use super::{Alert, MasterState, Output, Primary};
use crate::identity::PublicKey;
use crate::keys::schedule::SecretId;
use crate::negotiate::{Entropy, Negotiated, Role};
use crate::prefix::Prefix;

/// Least time between two new PairMasterSecrets that this end asks for.
const ASK_APART: Duration = Duration::from_secs(60);

/// Addresses that were removed and are remembered, so that one that comes back is noticed.
const REMOVED_MAX: usize = 4096;

/// PairMasterSecrets of a pairing at once.
const MASTERS_MAX: usize = 2;

/// Where a PairMasterSecret is in its life.
#[derive(Debug)]
pub(super) enum Phase {
    /// Secondaries install it for receiving.
    Preparing {
        /// When it is activated all the same.
        until: Duration,
        /// What the other Primary was told: that it is held here, and that nobody is waited for here.
        told: Option<bool>,
    },
    /// It is sent under.
    Active,
    /// It is received under until then.
    Retired(Duration),
}

/// A PairMasterSecret.
pub(super) struct Master {
    pub(super) generation: u64,
    pub(super) id: SecretId,
    pub(super) secret: PairMaster,
    pub(super) suite: Suite,
    pub(super) profile: Profile,
    pub(super) expires: Duration,
    renew: Option<Duration>,
    pub(super) phase: Phase,
    /// Members that receive under it.
    pub(super) prepared: BTreeSet<PublicKey>,
    /// Members that were waited for when it was last looked at.
    pub(super) waiting: BTreeSet<PublicKey>,
    /// What is recorded of its leases may be wrong: there are no more.
    pub(super) spoiled: bool,
}

impl Master {
    pub(super) fn state(&self) -> MasterState {
        MasterState {
            generation: self.generation,
            active: matches!(self.phase, Phase::Active),
            retired: matches!(self.phase, Phase::Retired(_)),
            expires: self.expires,
        }
    }

    pub(super) fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Active)
    }

    /// The other Primary is told anew how far this one is.
    pub(super) fn tell_again(&mut self) {
        if let Phase::Preparing { told, .. } = &mut self.phase {
            *told = None;
        }
    }
}

/// What this Primary knows of a pairing.
pub(super) struct Pair {
    pub(super) peer: PublicKey,
    /// This Primary's.
    pub(super) side: Side,
    pub(super) pairing: Pairing,
    pub(super) roster: Roster,
    /// The greatest group_gen so far, of any group.
    pub(super) group_gen: u32,
    /// The group_gen that was raised last, and that members are to acknowledge.
    pub(super) raised: u32,
    pub(super) last_generation: u64,
    /// The present validity period of Identity Based.
    pub(super) period: u32,
    /// Public parameters of this Primary's key generator, and of the other's.
    pub(super) generator: Option<Vec<u8>>,
    pub(super) peer_generator: Option<Vec<u8>>,
    /// Prefixes removed from this Primary's lists since it was started.
    removed: BTreeSet<Prefix>,
    /// There were more.
    removed_more: bool,
    /// PC: how often an address came back to the clients.
    pub(super) returns: u32,
    /// PS: what PC told of that last; `None` since this Primary was started.
    pub(super) peer_returns: Option<u32>,
    /// At most two, oldest first.
    pub(super) masters: Vec<Master>,
    pub(super) session: Option<PeerSession>,
    /// The peer told everything, once since this Primary was started: before that nothing is told of this pairing, as half a
    /// list would end what works.
    pub(super) complete: bool,
    /// The most commits that the peer told of.
    pub(super) seen: u64,
    /// How far the peer is.
    pub(super) peer_progress: Option<Progress>,
    asked: Option<Duration>,
    pub(super) due: bool,
}

impl Pair {
    /// Reads what is stored of it.
    pub(super) fn load(ledger: &Ledger, peer: PublicKey, side: Side, pairing: Pairing) -> Result<Self, StoreError> {
        let record = ledger.scan(&records::pair_of(&peer))?;
        let record = record.first().map(|(_, value)| records::read_pair(value)).transpose()?;
        let PairRecord { group_gen, last_generation, period } = record.unwrap_or_default();
        let mut lists: BTreeMap<Option<GroupName>, List> = BTreeMap::new();
        for entry in ledger.scan(&records::lists_of(&peer))? {
            let (group, prefix) = records::read_prefix(&entry)?;
            lists.entry(group).or_default().add(prefix).map_err(|_| StoreError::Damaged)?;
        }
        let mut roster = Roster { clients: Arc::new(lists.remove(&None).unwrap_or_default()), ..Roster::default() };
        for entry in ledger.scan(&records::groups_of(&peer))? {
            let (name, mode, group_gen) = records::read_group(&entry)?;
            let servers = Arc::new(lists.remove(&Some(name.clone())).unwrap_or_default());
            roster.groups.insert(name, Group { mode, group_gen, servers });
        }
        Ok(Self {
            peer,
            side,
            pairing,
            roster,
            group_gen,
            raised: 0,
            last_generation,
            period,
            generator: None,
            peer_generator: None,
            removed: BTreeSet::new(),
            removed_more: false,
            returns: 0,
            peer_returns: None,
            masters: Vec::new(),
            session: None,
            complete: false,
            seen: 0,
            peer_progress: None,
            asked: None,
            due: false,
        })
    }

    /// Those of some addresses that are on this side's lists.
    pub(super) fn involved<'a>(&self, addresses: impl IntoIterator<Item = &'a Ipv6Addr>) -> Vec<Ipv6Addr> {
        let listed = |address: &&Ipv6Addr| match self.side {
            Side::Client => self.roster.clients.longest(**address).is_some(),
            Side::Server => self.roster.group_of(**address).is_some(),
        };
        addresses.into_iter().filter(listed).copied().collect()
    }

    /// What the store holds of it.
    pub(super) fn record(&self) -> PairRecord {
        PairRecord { group_gen: self.group_gen, last_generation: self.last_generation, period: self.period }
    }

    /// Remembers that prefixes go.
    pub(super) fn forget(&mut self, removed: &[Prefix]) {
        for prefix in removed {
            if self.removed.len() < REMOVED_MAX {
                self.removed.insert(*prefix);
            } else {
                self.removed_more = true;
            }
        }
    }

    /// Whether an address in one of these was on a list of this Primary's before.
    pub(super) fn returns(&self, added: &[Prefix]) -> bool {
        let known = |prefix: &Prefix| self.removed.iter().any(|gone| gone.overlaps(prefix));
        !added.is_empty() && (self.removed_more || added.iter().any(known))
    }

    /// Takes a negotiated PairMasterSecret.
    pub(super) fn negotiated(
        &mut self,
        ledger: &mut Ledger,
        negotiated: &Negotiated,
        now: Duration,
        entropy: &mut impl Entropy,
    ) -> Result<(), ChangeError> {
        if negotiated.profile != Profile::V2 {
            // A Kri is not on the wire: nobody could tell in which lease it is.
            return Err(ChangeError::Master("its profile has no epochs on the wire"));
        }
        if negotiated.generation <= self.last_generation {
            return Err(ChangeError::Master("its generation is not new"));
        }
        let secret = PairMaster::extract(negotiated.suite, negotiated.salt.as_bytes(), &negotiated.shared_secret)?;
        let id = secret.id()?;
        let record = PairRecord { last_generation: negotiated.generation, ..self.record() };
        ledger.commit(vec![records::put_pair(&self.peer, record)])?;
        self.last_generation = negotiated.generation;
        let lifetime = Duration::from_secs(u64::from(negotiated.lifetime));
        // As in section 9: the client of the negotiation first; the server's turn comes later.
        let renew = match negotiated.role {
            Role::Client => lifetime.mul_f64(0.75) + part_of(lifetime.mul_f64(0.1), entropy),
            Role::Server => lifetime.mul_f64(0.9),
        };
        // One that was never sent under gives way; of the others the newest stays.
        self.masters.retain(|master| !matches!(master.phase, Phase::Preparing { .. }));
        let more = (self.masters.len() + 1).saturating_sub(MASTERS_MAX);
        self.masters.drain(..more.min(self.masters.len()));
        self.masters.push(Master {
            generation: negotiated.generation,
            id,
            secret,
            suite: negotiated.suite,
            profile: negotiated.profile,
            expires: now + lifetime,
            renew: Some(now + renew),
            phase: Phase::Preparing { until: now + PREPARE_MAX, told: None },
            prepared: BTreeSet::new(),
            waiting: BTreeSet::new(),
            spoiled: false,
        });
        self.asked = None;
        self.due = false;
        Ok(())
    }

    /// Notes that a PairMasterSecret is to be asked for; whether it is time to.
    pub(super) fn may_ask(&mut self, now: Duration) -> bool {
        self.due = true;
        if self.asked.is_some_and(|asked| now < asked + ASK_APART) {
            return false;
        }
        self.asked = Some(now);
        true
    }

    /// Whether a new PairMasterSecret is due: by time, because there is none, or because what was asked for did not come.
    pub(super) fn is_due(&mut self, now: Duration) -> bool {
        let newest = self.masters.last_mut();
        let by_time = newest.map(|master| master.renew.take_if(|at| *at <= now).is_some());
        by_time.unwrap_or(true) || self.due
    }

    /// Wipes what has had its time; whether there was any.
    pub(super) fn drop_ended(&mut self, now: Duration) -> bool {
        let before = self.masters.len();
        self.masters
            .retain(|master| now < master.expires && !matches!(master.phase, Phase::Retired(until) if until <= now));
        self.masters.len() != before
    }

    /// Whether the other Primary said hello in a session that is up.
    fn is_greeted(&self) -> bool {
        self.session.as_ref().is_some_and(PeerSession::is_greeted)
    }

    /// Whether a member is waited for until it has prepared.
    pub(super) fn expects(&self, member: &Member, master: &Master) -> bool {
        let mut active = self.masters.iter().filter(|master| master.is_active()).map(|master| master.id);
        let reachable = member.session.is_some() || member.was_given(&self.peer, active.next_back());
        // The costliest last, as thousands are asked for.
        reachable && !master.prepared.contains(&member.key) && !self.involved(&member.addresses).is_empty()
    }
}

impl Primary {
    /// Tells the other Primary how far this one is, and activates "when PC and PS have told each other that all did, or 60 s
    /// passed". After 60 s the other must at least have said that it holds the secret: were it not so, the switch would end
    /// what works. If it did not, another is negotiated.
    pub(super) fn evaluate(&mut self, peer: &PublicKey, now: Duration) {
        let Some(pair) = self.pairs.get(peer) else { return };
        let Some(master) = pair.masters.last() else { return };
        let Phase::Preparing { until, told } = master.phase else { return };
        let (generation, pms) = (master.generation, master.id);
        let expected: Vec<_> = self.members.values().filter(|member| pair.expects(member, master)).collect();
        let keys: BTreeSet<PublicKey> = expected.iter().map(|member| member.key).collect();
        let waiting: Vec<Ipv6Addr> = expected.iter().flat_map(|member| member.addresses.iter().copied()).collect();
        let over = now >= until;
        let ready = waiting.is_empty() || over;
        let peer_is = pair.peer_progress.as_ref().filter(|progress| progress.pms == pms);
        let (peer_holds, peer_ready) = (peer_is.is_some(), peer_is.is_some_and(|progress| progress.ready));
        let activates = (ready && peer_ready) || (over && peer_holds);
        let missing = over && !peer_holds && pair.is_greeted();
        let tells = told != Some(ready) && pair.is_greeted();
        let stragglers: Vec<Ipv6Addr> = waiting.iter().take(STRAGGLERS_MAX).copied().collect();
        if tells {
            let waiting = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
            let progress = Progress { pms, ready, waiting, stragglers: stragglers.clone() };
            self.send(peer, &Message::Progress(progress));
        }
        let Some(pair) = self.pairs.get_mut(peer) else { return };
        for master in &mut pair.masters {
            if master.id == pms {
                master.waiting.clone_from(&keys);
                master.phase = match activates {
                    true => Phase::Active,
                    false => Phase::Preparing { until, told: if tells { Some(ready) } else { told } },
                };
            } else if activates && master.is_active() {
                master.phase = Phase::Retired(now + OVERLAP);
            }
        }
        if activates {
            if !waiting.is_empty() {
                let alert = Alert::Stragglers { peer: *peer, generation, addresses: stragglers };
                self.outputs.push_back(Output::Alert(alert));
            }
            self.push_all(now);
        } else if missing {
            self.want_master(peer, now);
        }
    }
}
