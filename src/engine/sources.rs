//! The texts behind the names that errors carry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Script name → text, for snippets in diagnostics.
#[derive(Clone, Default)]
pub(super) struct Sources(Arc<Mutex<HashMap<String, Arc<str>>>>);

impl Sources {
    /// Remembers the text of `name`; the newest wins.
    pub(super) fn insert(&self, name: &str, text: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), Arc::from(text));
    }

    /// The text of `name`.
    pub(super) fn get(&self, name: &str) -> Option<Arc<str>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }
}
