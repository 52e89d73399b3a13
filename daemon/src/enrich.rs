//! What user space knows and the kernel's record does not say.
//!
//! Nothing is asked about the acting process itself: it may have ended, or have become another program. The kernel's record has it.

mod ancestors;
mod users;

use self::{ancestors::Ancestors, users::Users};
use crate::event::Event;

/// Everything that is looked up, and what is remembered of it.
#[derive(Debug)]
pub struct Enrich {
    users: Users,
    ancestors: Ancestors,
}

impl Default for Enrich {
    fn default() -> Self {
        Self { users: Users::new("/etc/passwd"), ancestors: Ancestors::new("/proc") }
    }
}

impl Enrich {
    /// Adds to the events of one batch what can be found out.
    pub fn enrich(&mut self, events: &mut [Event]) {
        if events.is_empty() {
            return;
        }
        self.users.refresh();
        for event in events {
            let Some(process) = &mut event.process else { continue };
            process.user = self.users.name(process.uid);
            process.effective_user = self.users.name(process.euid);
            process.login_user = process.login_uid.and_then(|uid| self.users.name(uid));
            self.ancestors.add_executables(process, event.time.boot, &mut event.missing);
        }
    }
}
