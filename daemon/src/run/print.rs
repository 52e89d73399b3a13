//! `--print`: events on standard output, for a person.

use std::io::{self, Write as _};

use crate::{encode::terminal, event::Event};

/// Standard output and what is on the way to it.
#[derive(Debug)]
pub struct Print {
    color: bool,
    text: String,
}

impl Print {
    /// `color`: with the sequences that make it.
    #[must_use]
    pub const fn new(color: bool) -> Self {
        Self { color, text: String::new() }
    }

    pub(super) fn push(&mut self, event: &Event) {
        terminal::render(event, event.severity(), self.color, &mut self.text);
    }

    /// Writes it. False: nobody reads standard output any more.
    pub(super) fn flush(&mut self) -> bool {
        let mut output = io::stdout().lock();
        let result = output.write_all(self.text.as_bytes()).and_then(|()| output.flush());
        self.text.clear();
        if let Err(error) = &result {
            tracing::warn!(%error, "standard output can't be written: events are no longer printed there, sinks get them as before");
        }
        result.is_ok()
    }
}
