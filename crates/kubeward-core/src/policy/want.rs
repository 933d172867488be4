//! Which moments of each call are wanted: the currency in which policies, profiles and hooks are counted.

use std::fmt;
use std::ops::{BitOr, BitOrAssign, Index, IndexMut};

use crate::syscall::Syscall;

/// Call numbers a table has room for, from 0; the highest in use is below 480 on every 64-bit architecture.
pub const CALL_NUMBERS: usize = 512;

/// What is wanted of one call. The union of two wants is the richer record that serves both: entry and return
/// together are one [`CallWant::CALL`], not two records.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CallWant(u8);

impl CallWant {
    pub const NONE: CallWant = CallWant(0);
    /// A record at entry.
    pub const ENTER: CallWant = CallWant(1);
    /// A record at return.
    pub const EXIT: CallWant = CallWant(2);
    /// One record of entry and return, with the time between.
    pub const CALL: CallWant = CallWant(1 | 2);
    /// Also when seccomp refused the call, which only a program at every call's exit sees.
    pub const REFUSED: CallWant = CallWant(4);
    /// In a profile: only with an error of [`Profile::errors`](super::Profile::errors).
    pub const BY_ERROR: CallWant = CallWant(8);
    /// In a profile: only if it took [`Profile::min_duration_ns`](super::Profile::min_duration_ns) or longer.
    pub const BY_DURATION: CallWant = CallWant(16);
    /// In a profile: no record of it is needed, since every policy that names it counts only.
    pub const COUNT: CallWant = CallWant(32);

    pub fn is_none(self) -> bool {
        self.moments() == CallWant::NONE
    }

    pub fn contains(self, other: CallWant) -> bool {
        self.0 & other.0 == other.0
    }

    /// Without the conditions: `NONE`, `ENTER`, `EXIT` or `CALL`.
    pub fn moments(self) -> CallWant {
        CallWant(self.0 & CallWant::CALL.0)
    }

    pub fn bits(self) -> u8 {
        self.0
    }
}

impl BitOr for CallWant {
    type Output = CallWant;

    fn bitor(self, other: CallWant) -> CallWant {
        CallWant(self.0 | other.0)
    }
}

impl BitOrAssign for CallWant {
    fn bitor_assign(&mut self, other: CallWant) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for CallWant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moments = match self.moments() {
            CallWant::ENTER => "enter",
            CallWant::EXIT => "exit",
            CallWant::CALL => "call",
            _ => "none",
        };
        f.write_str(moments)?;
        let conditions = [
            (CallWant::REFUSED, "refused"),
            (CallWant::BY_ERROR, "error"),
            (CallWant::BY_DURATION, "slow"),
            (CallWant::COUNT, "count"),
        ];
        conditions.iter().filter(|(bit, _)| self.contains(*bit)).try_for_each(|(_, name)| write!(f, "+{name}"))
    }
}

/// A want for every call number.
#[derive(Clone, PartialEq, Eq)]
pub struct CallWants(Box<[CallWant; CALL_NUMBERS]>);

impl CallWants {
    pub fn as_array(&self) -> &[CallWant; CALL_NUMBERS] {
        &self.0
    }

    /// The numbers of which something is wanted, ascending, each with what.
    pub fn iter(&self) -> impl Iterator<Item = (u16, CallWant)> + '_ {
        (0..).zip(self.0.iter().copied()).filter(|(_, want)| !want.is_none())
    }

    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// `NONE` for a number beyond the table.
    pub fn get(&self, nr: u32) -> CallWant {
        usize::try_from(nr).ok().and_then(|nr| self.0.get(nr)).copied().unwrap_or_default()
    }
}

impl Default for CallWants {
    fn default() -> Self {
        CallWants(Box::new([CallWant::NONE; CALL_NUMBERS]))
    }
}

impl Index<u16> for CallWants {
    type Output = CallWant;

    fn index(&self, nr: u16) -> &CallWant {
        &self.0[usize::from(nr)]
    }
}

impl IndexMut<u16> for CallWants {
    fn index_mut(&mut self, nr: u16) -> &mut CallWant {
        &mut self.0[usize::from(nr)]
    }
}

impl Index<&Syscall> for CallWants {
    type Output = CallWant;

    fn index(&self, call: &Syscall) -> &CallWant {
        &self[call.nr]
    }
}

impl IndexMut<&Syscall> for CallWants {
    fn index_mut(&mut self, call: &Syscall) -> &mut CallWant {
        &mut self[call.nr]
    }
}

impl fmt::Debug for CallWants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
