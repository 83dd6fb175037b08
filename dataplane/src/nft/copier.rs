//! [`Copier`]: the tables that copy packets, for all rules in force.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::copy::{COPIES, Targets, create, delete, protocol_family};
use super::message::{Attributes, Kind, Message};
use super::ownership::{Ownership, probe};
use super::readback;
use super::table::Table;
use super::transport::{Failure, Transport};
use crate::backend::BackendError;
use crate::desired::{Changes, Settings};
use crate::routing::{Mark, Marks, Steering, Usage};
use crate::rule::{Family, Rule, RuleId, left_aligned};

/// Whatever carries out transactions: a socket, or the main table, which wants to know of those beside it.
pub(super) trait Kernel {
    /// The socket.
    fn transport(&mut self) -> &mut Transport;

    /// Carries out all messages or none.
    fn send(&mut self, messages: &[Message]) -> Result<(), Failure>;
}

impl Kernel for Transport {
    fn transport(&mut self) -> &mut Transport {
        self
    }

    fn send(&mut self, messages: &[Message]) -> Result<(), Failure> {
        self.transact(messages, None).map(drop)
    }
}

impl Kernel for Table {
    fn transport(&mut self) -> &mut Transport {
        &mut self.transport
    }

    fn send(&mut self, messages: &[Message]) -> Result<(), Failure> {
        self.transact_beside(messages)
    }
}

/// A table that is in the kernel.
struct Present {
    targets: Targets,
    /// As the kernel shows what is in it besides; `None` while that may not be what we make.
    digest: Option<u64>,
}

/// Makes the tables that copy packets what the rules in force need.
///
/// An address is known there before rules mark packets for it ([`Copier::prepare`]), and goes after the last rule
/// that does ([`Copier::committed`]).
pub(super) struct Copier {
    /// Nobody else may change the tables, where the kernel can see to that.
    own: bool,
    marks: Arc<Marks<IpAddr>>,
    usage: Usage<IpAddr>,
    tables: BTreeMap<Family, Present>,
    /// `NFT_TABLE_F_*` of the tables, once one has been needed.
    flags: Option<u32>,
    /// Addresses that cannot be reached, and why.
    unreachable: BTreeMap<IpAddr, String>,
}

impl Copier {
    /// Reads what an earlier process left; nothing is changed yet.
    pub(super) fn open(
        settings: &Settings,
        transport: &mut Transport,
    ) -> Result<Self, BackendError> {
        let mut marks = Marks::new(settings.redirect.copy_mark);
        let mut tables = BTreeMap::new();
        for family in Family::ALL {
            if !exists(family, transport)? {
                continue;
            }
            let targets = targets(family, transport)?;
            for (value, address) in &targets {
                let mask = settings.redirect.copy_mark;
                let number = marks.number_of(Mark {
                    mask,
                    value: *value,
                });
                if let Some(number) = number.filter(|number| !marks.is_taken(*number)) {
                    marks.insert(*address, number);
                }
            }
            let digest = None;
            tables.insert(family, Present { targets, digest });
        }
        Ok(Self {
            own: settings.own_table,
            marks: Arc::new(marks),
            usage: Usage::new(|action| action.copy_to()),
            tables,
            flags: None,
            unreachable: BTreeMap::new(),
        })
    }

    /// The packet marks of all addresses in use.
    pub(super) fn marks(&self) -> &Arc<Marks<IpAddr>> {
        &self.marks
    }

    /// Makes ready for rules that may be in force in a moment, those of before included.
    ///
    /// Fails with the rule whose copies cannot be had; what was done then goes with the next [`Copier::committed`] or
    /// [`Copier::refused`].
    pub(super) fn prepare(
        &mut self,
        rules: &[Arc<Rule>],
        kernel: &mut dyn Kernel,
    ) -> Result<(), BackendError> {
        for rule in rules {
            let Some(address) = rule.action.copy_to() else {
                continue;
            };
            let refused = |reason| BackendError::Refused {
                rule: Some(rule.id),
                reason: format!("copy to {address}: {reason}"),
            };
            if self.marks.get(&address).is_none() {
                let mut numbers = self.marks.all_numbers();
                let free = numbers.find(|number| !self.marks.is_taken(*number));
                let number = free.ok_or_else(|| {
                    let all = *self.marks.all_numbers().end();
                    refused(format!("all {all} values of copy_mark are in use"))
                })?;
                Arc::make_mut(&mut self.marks).insert(address, number);
            }
            self.synchronize(kernel).map_err(|error| match error {
                BackendError::Refused { reason, .. } => refused(reason),
                other @ (BackendError::Unavailable(_) | BackendError::NoRoom(_)) => other,
            })?;
        }
        Ok(())
    }

    /// Takes note of a commit that went in: addresses that no rule copies to any more go. What cannot be taken away now
    /// is by the next [`Copier::audit`].
    pub(super) fn committed(&mut self, changes: &Changes, kernel: &mut dyn Kernel) {
        self.usage.apply(changes);
        self.release(kernel);
    }

    /// Takes note that what was prepared is not in force.
    pub(super) fn refused(&mut self, kernel: &mut dyn Kernel) {
        self.release(kernel);
    }

    /// Looks whether others have changed the tables, and whether addresses can be reached.
    pub(super) fn audit(
        &mut self,
        kernel: &mut dyn Kernel,
        steering: &mut Steering,
    ) -> Result<(), BackendError> {
        if self.tables.is_empty() && self.marks.iter().next().is_none() {
            return Ok(());
        }
        // The kernel lets nobody change what is owned.
        if self.flags.unwrap_or(0) == 0 {
            let transport = kernel.transport();
            for (family, table) in &mut self.tables {
                let digest = readback::digest_of(transport, protocol_family(*family))?;
                let is_intact = exists(*family, transport)?
                    && table.digest == Some(digest)
                    && targets(*family, transport)? == table.targets;
                table.digest = table.digest.filter(|_| is_intact);
            }
        }
        self.synchronize(kernel)?;
        self.unreachable.clear();
        for (address, _) in self.marks.iter() {
            if let Err(reason) = steering.look(*address)? {
                self.unreachable.insert(*address, reason);
            }
        }
        Ok(())
    }

    /// Rules that do not copy at the moment, and why.
    pub(super) fn impaired(&self) -> impl Iterator<Item = (RuleId, String)> {
        self.usage.rules().filter_map(|(id, address)| {
            let reason = self.unreachable.get(address)?;
            Some((
                id,
                format!("not copied: {reason}; packets go on without a copy"),
            ))
        })
    }

    /// Rules in force that copy.
    pub(super) fn rules(&self) -> impl Iterator<Item = RuleId> {
        self.usage.rules().map(|(id, _)| id)
    }

    /// Takes away everything of ours.
    pub(super) fn stop(mut self, kernel: &mut dyn Kernel) -> Result<(), BackendError> {
        Arc::make_mut(&mut self.marks).retain(|_| false);
        self.synchronize(kernel)
    }

    /// Forgets addresses that no rule copies to.
    fn release(&mut self, kernel: &mut dyn Kernel) {
        let used = self.usage.used();
        if self
            .marks
            .iter()
            .any(|(address, _)| !used.contains(address))
        {
            Arc::make_mut(&mut self.marks).retain(|address| used.contains(address));
        }
        self.unreachable.retain(|address, _| used.contains(address));
        // What fails is still known to be present.
        let _ = self.synchronize(kernel);
    }

    /// Makes the tables what is needed. One that changes is replaced in one transaction: there is no state in it.
    fn synchronize(&mut self, kernel: &mut dyn Kernel) -> Result<(), BackendError> {
        for family in Family::ALL {
            let of_family = self
                .marks
                .iter()
                .filter(|(address, _)| left_aligned(**address).0 == family);
            let wanted: Targets = of_family
                .map(|(address, number)| (self.marks.mark(number).value, *address))
                .collect();
            let is_right = match self.tables.get(&family) {
                None => wanted.is_empty(),
                Some(table) => table.digest.is_some() && table.targets == wanted,
            };
            if is_right {
                continue;
            }
            let transport = kernel.transport();
            let mut messages = Vec::new();
            if exists(family, transport)? {
                messages.push(delete(family));
            }
            if !wanted.is_empty() {
                let flags = match self.flags {
                    Some(flags) => flags,
                    None if self.own => probe(transport)?.table_flags(None),
                    None => Ownership::Unsupported.table_flags(None),
                };
                self.flags = Some(flags);
                messages.extend(create(family, flags, self.marks.mask(), &wanted));
            }
            kernel.send(&messages)?;
            match wanted.is_empty() {
                true => drop(self.tables.remove(&family)),
                false => {
                    let digest =
                        readback::digest_of(kernel.transport(), protocol_family(family)).ok();
                    let targets = wanted;
                    self.tables.insert(family, Present { targets, digest });
                }
            }
        }
        Ok(())
    }
}

/// Whether there is a table.
fn exists(family: Family, transport: &mut Transport) -> Result<bool, BackendError> {
    let request = Message::new(Kind::GetTable, 0, Attributes::of_table());
    let table = transport.get(&request.of_family(protocol_family(family)))?;
    Ok(table.is_some())
}

/// The map of a table that is there.
fn targets(family: Family, transport: &mut Transport) -> Result<Targets, BackendError> {
    let values = readback::values(transport, protocol_family(family), COPIES)?;
    let target = |(mark, address): (Vec<u8>, Vec<u8>)| {
        let address = match family {
            Family::Ipv4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?)),
            Family::Ipv6 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?)),
        };
        Some((u32::from_ne_bytes(mark.try_into().ok()?), address))
    };
    Ok(values.into_iter().filter_map(target).collect())
}
