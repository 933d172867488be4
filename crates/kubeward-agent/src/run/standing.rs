//! How the agent stands, for the health service: whether the main loop comes round, and whether all is in force that is known.

use tokio::sync::watch;

use crate::heartbeat::Heartbeat;
use crate::serve::health::Verdict;

/// What the main loop says of itself. Owned by it; others look.
pub(super) struct Standing {
    heartbeat: Heartbeat,
    /// Sockets of which it is not known yet what runs there, or that nothing answers.
    sockets_left: usize,
    readiness: watch::Sender<Verdict>,
}

impl Standing {
    pub(super) fn new(sockets: usize) -> Self {
        let readiness = watch::Sender::new(Verdict::no("the agent is starting"));
        Self { heartbeat: Heartbeat::default(), sockets_left: sockets, readiness }
    }

    pub(super) fn heartbeat(&self) -> Heartbeat {
        self.heartbeat.clone()
    }

    pub(super) fn readiness(&self) -> watch::Receiver<Verdict> {
        self.readiness.subscribe()
    }

    /// A socket was looked at for the first time.
    pub(super) fn socket_settled(&mut self) {
        self.sockets_left = self.sockets_left.saturating_sub(1);
    }

    /// What runs behind every socket has been told, or that nothing answers there.
    pub(super) fn knows_containers(&self) -> bool {
        self.sockets_left == 0
    }

    /// The main loop comes round. `policies` says whether those known are in force.
    pub(super) fn turn(&self, policies: Verdict) {
        self.heartbeat.beat();
        let now = match self.sockets_left {
            0 => policies,
            1 => Verdict::no("a containerd socket has not been looked at yet"),
            left => Verdict::no(format!("{left} containerd sockets have not been looked at yet")),
        };
        self.readiness.send_if_modified(|before| {
            let is_news = *before != now;
            *before = now;
            is_news
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_is_ready_when_every_socket_was_looked_at_and_the_policies_are_in_force() {
        let mut standing = Standing::new(2);
        let readiness = standing.readiness();
        let mut turn = |settles: bool, in_force| {
            if settles {
                standing.socket_settled();
            }
            standing.turn(if in_force { Verdict::yes("in force") } else { Verdict::no("attaching") });
            let verdict = readiness.borrow().clone();
            (verdict.holds, verdict.why)
        };
        let said = |holds, why: &str| (holds, why.to_owned());
        assert_eq!(turn(false, true), said(false, "2 containerd sockets have not been looked at yet"));
        assert_eq!(turn(true, true), said(false, "a containerd socket has not been looked at yet"));
        assert_eq!(turn(true, false), said(false, "attaching"));
        assert_eq!(turn(false, true), said(true, "in force"));
        assert_eq!(turn(false, false), said(false, "attaching"));
    }
}
