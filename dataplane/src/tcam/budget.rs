//! The room in a table, shared by both families.

use super::profile::Room;
use crate::rule::Family;

/// Entries that a table has room for, and those that are there.
///
/// The documented capacities of the families cannot be reached together. How they share the hardware is not
/// documented: the budget counts as if each entry took a share of the whole that is as large as its family's capacity is small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    room: Room,
    used: Room,
}

impl Budget {
    /// An empty table.
    pub fn new(room: Room) -> Self {
        Self {
            room,
            used: Room { ipv4: 0, ipv6: 0 },
        }
    }

    /// Entries there are.
    pub fn used(&self) -> Room {
        self.used
    }

    /// Entries there can be of each family, without any of the other.
    pub fn room(&self) -> Room {
        self.room
    }

    /// Takes room for entries; false, and nothing taken, when there is none.
    pub fn take(&mut self, family: Family, entries: usize) -> bool {
        let mut used = self.used;
        let count = match family {
            Family::Ipv4 => &mut used.ipv4,
            Family::Ipv6 => &mut used.ipv6,
        };
        *count = count.saturating_add(entries);
        let fits = self.fits(used);
        if fits {
            self.used = used;
        }
        fits
    }

    /// Gives room back.
    pub fn give_back(&mut self, family: Family, entries: usize) {
        let count = match family {
            Family::Ipv4 => &mut self.used.ipv4,
            Family::Ipv6 => &mut self.used.ipv6,
        };
        *count = count.saturating_sub(entries);
    }

    /// How many entries of the family there is still room for.
    pub fn left(&self, family: Family) -> usize {
        let (own, other) = match family {
            Family::Ipv4 => (Family::Ipv4, Family::Ipv6),
            Family::Ipv6 => (Family::Ipv6, Family::Ipv4),
        };
        let (room, taken) = (self.room.of(own) as u128, self.used.of(own) as u128);
        let (other_room, others) = (self.room.of(other) as u128, self.used.of(other) as u128);
        let shared = match other_room {
            0 => room,
            other_room => room * other_room.saturating_sub(others) / other_room,
        };
        usize::try_from(shared.saturating_sub(taken)).unwrap_or(usize::MAX)
    }

    /// True when the shares of both families make at most the whole.
    fn fits(&self, used: Room) -> bool {
        let [v4, v6] =
            Family::ALL.map(|family| (used.of(family) as u128, self.room.of(family) as u128));
        match (v4.1, v6.1) {
            (room, 0) => v6.0 == 0 && v4.0 <= room,
            (0, room) => v4.0 == 0 && v6.0 <= room,
            _ => v4.0 * v6.1 + v6.0 * v4.1 <= v4.1 * v6.1,
        }
    }
}
