//! What is worth reading when a trial fails.

use std::{cell::RefCell, rc::Rc};

type Tell = Box<dyn Fn() -> String>;

/// What a trial's guests and servers have to say, told only when somebody wants to know.
#[derive(Clone, Default)]
pub(crate) struct Evidence(Rc<RefCell<Vec<Tell>>>);

impl Evidence {
    /// Keeps what one of them can tell.
    pub(crate) fn keep(&self, tell: impl Fn() -> String + 'static) {
        self.0.borrow_mut().push(Box::new(tell));
    }

    /// All of it, to be read.
    pub(crate) fn report(&self) -> String {
        self.0.borrow().iter().map(|tell| tell()).collect()
    }
}
