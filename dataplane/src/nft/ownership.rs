//! Who may change the table: its flags, and what the kernel makes of them.
//!
//! A table with `NFT_TABLE_F_OWNER` (Linux 5.12) belongs to the socket that created it: the kernel
//! refuses changes by others, and `nft flush ruleset` passes it by. When that socket closes, by
//! whatever death of its process, the table vanishes, unless it has `NFT_TABLE_F_PERSIST` too
//! (Linux 6.9). Then it stays in force without an owner, open to everyone, until a socket adopts it
//! by creating it with both flags once more. A table without flags can never be given an owner.

use netlink_packet_core::NLM_F_CREATE;
use nix::errno::Errno;

use super::message::{Attributes, Kind, Message, TABLE, TABLE_FLAGS, find_u32};
use super::transport::{Failure, Transport};
use crate::backend::BackendError;

/// `NFT_TABLE_F_DORMANT`.
#[cfg(test)]
const DORMANT: u32 = 0x1;
/// `NFT_TABLE_F_OWNER`.
const OWNER: u32 = 0x2;
/// `NFT_TABLE_F_PERSIST`.
const PERSIST: u32 = 0x4;
/// `NFTA_TABLE_OWNER`.
const TABLE_OWNER: u16 = 7;

/// What the kernel knows of ownership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ownership {
    /// Nothing.
    Unsupported,
    /// Tables that vanish with their owner.
    OwnerOnly,
    /// Tables that outlive their owner and can be adopted.
    OwnerPersist,
}

impl Ownership {
    /// The flags with which to create or adopt our table, given what there is of it. A filter that
    /// vanishes when its process is killed would let everything pass: then better no owner.
    pub(super) fn table_flags(self, existing: Option<TableState>) -> u32 {
        match (existing, self) {
            (Some(table), _) if table.flags & PERSIST != 0 => OWNER | PERSIST,
            (None, Self::OwnerPersist) => OWNER | PERSIST,
            (Some(_), _) | (None, Self::Unsupported | Self::OwnerOnly) => 0,
        }
    }
}

/// What is known of our table without looking into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TableState {
    /// `NFT_TABLE_F_*`.
    pub(super) flags: u32,
    /// The number of the socket that owns it.
    pub(super) owner: Option<u32>,
}

impl TableState {
    #[cfg(test)]
    /// True when it has outlived its owner: creating it with the same flags adopts it as it is.
    pub(super) fn is_orphan(self) -> bool {
        self.flags & (OWNER | PERSIST) == PERSIST
    }

    #[cfg(test)]
    /// True when somebody has switched it off: it is there, but filters nothing.
    pub(super) fn is_dormant(self) -> bool {
        self.flags & DORMANT != 0
    }

    /// True when somebody other than the socket with this number owns it: no change will succeed.
    pub(super) fn is_foreign(self, port: u32) -> bool {
        self.owner.is_some_and(|owner| owner != port)
    }
}

/// Asks the kernel what it knows of ownership: creates and deletes a table in one transaction, which
/// nobody ever sees.
pub(super) fn probe(transport: &mut Transport) -> Result<Ownership, BackendError> {
    let name = format!("{TABLE}-probe-{}", transport.port()?);
    let kinds = [
        (OWNER | PERSIST, Ownership::OwnerPersist),
        (OWNER, Ownership::OwnerOnly),
    ];
    for (flags, ownership) in kinds {
        let table = Attributes::new().string(1, &name);
        let messages = [
            Message::new(
                Kind::NewTable,
                NLM_F_CREATE,
                table.clone().u32(TABLE_FLAGS, flags),
            ),
            Message::new(Kind::DelTable, 0, table),
        ];
        match transport.transact(&messages, None) {
            Ok(_) => return Ok(ownership),
            Err(Failure::Refused { errno, .. }) if is_unknown_flag(errno) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    Ok(Ownership::Unsupported)
}

/// Whether this is what a kernel says about table flags that it does not know.
fn is_unknown_flag(errno: Errno) -> bool {
    matches!(errno, Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ERANGE)
}

/// What our table is; `None` when there is none.
pub(super) fn table_state(transport: &mut Transport) -> Result<Option<TableState>, BackendError> {
    let request = Message::new(Kind::GetTable, 0, Attributes::of_table());
    let table = transport.get(&request)?;
    Ok(table.map(|attributes| TableState {
        flags: find_u32(&attributes, TABLE_FLAGS).unwrap_or(0),
        owner: find_u32(&attributes, TABLE_OWNER),
    }))
}

#[cfg(test)]
mod tests;
