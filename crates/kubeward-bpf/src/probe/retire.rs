//! Hooks that nobody asks for any more: detached in the background, tens of milliseconds each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::attach::Hook;

/// Which calls have hooks that are being detached. Such a hook still runs, and goes by the same tables as a new one: the call
/// must not be shown by hooks on its function until it is gone.
#[derive(Debug, Default, Clone)]
pub(super) struct Retirement {
    leaving: Arc<Mutex<BTreeMap<u16, usize>>>,
}

impl Retirement {
    /// Detaches the hooks, which the kernel's tables no longer show.
    pub(super) fn detach(&self, retired: Vec<Hook>) {
        {
            let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
            retired.iter().for_each(|hook| *leaving.entry(hook.nr).or_default() += 1);
        }
        let retirement = self.clone();
        // Without a thread the closure, and the hooks in it, are dropped here and now: then nothing is leaving.
        let work = Work { retirement, retired };
        drop(thread::Builder::new().name("kubeward-detach".to_owned()).spawn(move || drop(work)));
    }

    pub(super) fn has(&self, nr: u16) -> bool {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&nr)
    }

    fn gone(&self, nr: u16) {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hooks) = leaving.get_mut(&nr) {
            *hooks -= 1;
            if *hooks == 0 {
                leaving.remove(&nr);
            }
        }
    }
}

struct Work {
    retirement: Retirement,
    retired: Vec<Hook>,
}

impl Drop for Work {
    fn drop(&mut self) {
        let nrs: Vec<u16> = self.retired.iter().map(|hook| hook.nr).collect();
        // A link of the multi form goes with the last of its hooks: none is gone before all of them are.
        let shares = self.retired.iter().any(|hook| hook.links.iter().any(|link| Arc::strong_count(link) > 1));
        if shares {
            self.retired.clear();
        }
        for nr in nrs {
            if !shares {
                drop(self.retired.remove(0));
            }
            self.retirement.gone(nr);
        }
    }
}
