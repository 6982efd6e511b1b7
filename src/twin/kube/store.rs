//! The objects, and what happened to them.
//!
//! One resource version counts all writes, as etcd's revision does. Each resource keeps a log of its
//! last changes: a watch reads it from where it is, and a page of a list is the state at the version
//! of its first page, rebuilt by taking the changes since back.
//!
//! It knows nothing of rules: what may be written is decided before.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::Value;
use tokio::sync::watch;

/// How many changes a resource remembers. A watch or a page from before them has expired.
const REMEMBERED: usize = 20_000;

/// Namespace (empty for cluster-scoped) and name.
pub type Key = (String, String);

/// Objects with their keys, in the order of keys.
pub type Listing = Vec<(Key, Arc<Value>)>;

/// One write. Never both sides empty.
#[derive(Clone, Debug)]
pub struct Change {
    /// Resource version of the write.
    pub version: u64,
    /// Which object.
    pub key: Key,
    /// The object before; `None` when it was created.
    pub before: Option<Arc<Value>>,
    /// The object after, or, when it was deleted, as it last was, with the version of the deletion.
    pub object: Arc<Value>,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// Why a write was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clash {
    /// Another write came first.
    Changed,
    /// There is an object of that name.
    Exists,
    /// There is no such object.
    Missing,
}

/// A version that is not remembered any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The oldest version that is.
    pub oldest: u64,
}

/// All objects of a cluster.
#[derive(Debug)]
pub struct Store {
    shelves: RwLock<Shelves>,
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct Shelves {
    version: u64,
    by_resource: HashMap<String, Shelf>,
}

#[derive(Debug)]
struct Shelf {
    objects: BTreeMap<Key, Arc<Value>>,
    log: VecDeque<Change>,
    /// Version of the newest change that was forgotten.
    forgotten: u64,
    changed: watch::Sender<u64>,
}

impl Shelf {
    fn new() -> Shelf {
        Shelf {
            objects: BTreeMap::new(),
            log: VecDeque::new(),
            forgotten: Store::FIRST,
            changed: watch::Sender::new(0),
        }
    }

    fn record(&mut self, change: Change) {
        if self.log.len() >= REMEMBERED
            && let Some(old) = self.log.pop_front()
        {
            self.forgotten = old.version;
        }
        self.changed.send_replace(change.version);
        self.log.push_back(change);
    }
}

impl Store {
    /// The version of an empty store. Those before it are of a time that nobody remembers.
    pub const FIRST: u64 = 100;

    /// An empty store.
    pub fn new() -> Store {
        Store {
            shelves: RwLock::new(Shelves {
                version: Store::FIRST,
                by_resource: HashMap::new(),
            }),
            changed: watch::Sender::new(Store::FIRST),
        }
    }

    /// The version of the last write.
    pub fn version(&self) -> u64 {
        self.read().version
    }

    /// One object.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let all = self.read();
        let key = (namespace.to_owned(), name.to_owned());
        all.by_resource.get(resource)?.objects.get(&key).cloned()
    }

    /// The objects of a resource, in one namespace or (`None`) in all, with the version of the answer.
    pub fn list(&self, resource: &str, namespace: Option<&str>) -> (u64, Listing) {
        let all = self.read();
        let found = all
            .by_resource
            .get(resource)
            .map(|kept| within(&kept.objects, namespace))
            .unwrap_or_default();
        (all.version, found)
    }

    /// The objects as they were at a version.
    ///
    /// # Errors
    /// The version is older than what the log remembers.
    pub fn list_at(
        &self,
        resource: &str,
        namespace: Option<&str>,
        version: u64,
    ) -> Result<Listing, Expired> {
        let all = self.read();
        let Some(kept) = all.by_resource.get(resource) else {
            return Ok(Vec::new());
        };
        if version < kept.forgotten {
            return Err(Expired {
                oldest: kept.forgotten,
            });
        }
        let mut then = kept.objects.clone();
        for change in kept.log.iter().rev().take_while(|c| c.version > version) {
            match &change.before {
                Some(before) => then.insert(change.key.clone(), Arc::clone(before)),
                None => then.remove(&change.key),
            };
        }
        Ok(within(&then, namespace))
    }

    /// The changes of a resource after a version, oldest first.
    ///
    /// # Errors
    /// Some of them have been forgotten.
    pub fn since(&self, resource: &str, version: u64) -> Result<Vec<Change>, Expired> {
        let all = self.read();
        let kept = all.by_resource.get(resource);
        let oldest = kept.map_or(Store::FIRST, |kept| kept.forgotten);
        if version < oldest {
            return Err(Expired { oldest });
        }
        let Some(kept) = kept else {
            return Ok(Vec::new());
        };
        let start = kept.log.partition_point(|c| c.version <= version);
        Ok(kept.log.range(start..).cloned().collect())
    }

    /// Wakes up on each write; the value is its version.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Wakes up on each write to one resource.
    pub fn changes_of(&self, resource: &str) -> watch::Receiver<u64> {
        let mut all = self.write();
        all.by_resource
            .entry(resource.to_owned())
            .or_insert_with(Shelf::new)
            .changed
            .subscribe()
    }

    /// Forgets the changes of a resource so far, so that watches and pages from before expire.
    pub fn forget(&self, resource: &str) {
        let mut all = self.write();
        if let Some(kept) = all.by_resource.get_mut(resource)
            && let Some(last) = kept.log.back()
        {
            kept.forgotten = last.version;
            kept.log.clear();
        }
    }

    /// Adds an object.
    ///
    /// # Errors
    /// The name is taken.
    pub fn insert(&self, resource: &str, key: Key, object: Value) -> Result<Arc<Value>, Clash> {
        self.write_one(resource, key, object, |now| match now {
            None => Ok(()),
            Some(_) => Err(Clash::Exists),
        })
    }

    /// Replaces an object that is still `before`.
    ///
    /// # Errors
    /// It is gone, or has been written since.
    pub fn replace(
        &self,
        resource: &str,
        key: Key,
        before: &Arc<Value>,
        object: Value,
    ) -> Result<Arc<Value>, Clash> {
        self.write_one(resource, key, object, |now| match now {
            None => Err(Clash::Missing),
            Some(now) if Arc::ptr_eq(now, before) => Ok(()),
            Some(_) => Err(Clash::Changed),
        })
    }

    /// Takes away an object that is still `before`; `last` is what watches see of it.
    ///
    /// # Errors
    /// It is gone, or has been written since.
    pub fn remove(
        &self,
        resource: &str,
        key: &Key,
        before: &Arc<Value>,
        mut last: Value,
    ) -> Result<Arc<Value>, Clash> {
        let mut all = self.write();
        let version = all.version + 1;
        let kept = all.by_resource.get_mut(resource).ok_or(Clash::Missing)?;
        match kept.objects.get(key) {
            None => return Err(Clash::Missing),
            Some(now) if Arc::ptr_eq(now, before) => {}
            Some(_) => return Err(Clash::Changed),
        }
        stamp(&mut last, version);
        let last = Arc::new(last);
        let before = kept.objects.remove(key);
        kept.record(Change {
            version,
            key: key.clone(),
            before,
            object: Arc::clone(&last),
            deleted: true,
        });
        all.version = version;
        self.changed.send_replace(version);
        Ok(last)
    }

    fn write_one(
        &self,
        resource: &str,
        key: Key,
        mut object: Value,
        check: impl FnOnce(Option<&Arc<Value>>) -> Result<(), Clash>,
    ) -> Result<Arc<Value>, Clash> {
        let mut all = self.write();
        let version = all.version + 1;
        let kept = all
            .by_resource
            .entry(resource.to_owned())
            .or_insert_with(Shelf::new);
        check(kept.objects.get(&key))?;
        stamp(&mut object, version);
        let object = Arc::new(object);
        let before = kept.objects.insert(key.clone(), Arc::clone(&object));
        kept.record(Change {
            version,
            key,
            before,
            object: Arc::clone(&object),
            deleted: false,
        });
        all.version = version;
        self.changed.send_replace(version);
        Ok(object)
    }

    fn read(&self) -> RwLockReadGuard<'_, Shelves> {
        self.shelves
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shelves> {
        self.shelves
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Default for Store {
    fn default() -> Store {
        Store::new()
    }
}

fn within(objects: &BTreeMap<Key, Arc<Value>>, namespace: Option<&str>) -> Listing {
    let pair = |(key, object): (&Key, &Arc<Value>)| (key.clone(), Arc::clone(object));
    match namespace {
        None => objects.iter().map(pair).collect(),
        Some(namespace) => objects
            .range((namespace.to_owned(), String::new())..)
            .take_while(|(key, _)| key.0 == namespace)
            .map(pair)
            .collect(),
    }
}

fn stamp(object: &mut Value, version: u64) {
    object["metadata"]["resourceVersion"] = version.to_string().into();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> Key {
        ("shop".to_owned(), name.to_owned())
    }

    fn names(listing: &Listing) -> Vec<&str> {
        listing.iter().map(|(key, _)| key.1.as_str()).collect()
    }

    #[test]
    fn a_list_at_a_version_is_the_state_of_then() {
        let store = Store::new();
        let a = store
            .insert("pods", key("a"), json!({"metadata": {}}))
            .unwrap();
        store
            .insert("pods", key("b"), json!({"metadata": {}}))
            .unwrap();
        let then = store.version();
        store.remove("pods", &key("a"), &a, (*a).clone()).unwrap();
        store
            .insert("pods", key("c"), json!({"metadata": {}}))
            .unwrap();
        assert_eq!(names(&store.list("pods", Some("shop")).1), ["b", "c"]);
        let page = store.list_at("pods", Some("shop"), then).unwrap();
        assert_eq!(names(&page), ["a", "b"]);
    }

    #[test]
    fn a_write_over_another_one_is_refused() {
        let store = Store::new();
        let first = store
            .insert("pods", key("a"), json!({"metadata": {}}))
            .unwrap();
        store
            .replace("pods", key("a"), &first, json!({"metadata": {}}))
            .unwrap();
        let late = store.replace("pods", key("a"), &first, json!({"metadata": {}}));
        assert_eq!(late, Err(Clash::Changed));
        let taken = store.insert("pods", key("a"), json!({"metadata": {}}));
        assert_eq!(taken, Err(Clash::Exists));
    }

    #[test]
    fn what_was_forgotten_has_expired() {
        let store = Store::new();
        store
            .insert("pods", key("a"), json!({"metadata": {}}))
            .unwrap();
        let seen = store.version();
        store
            .insert("pods", key("b"), json!({"metadata": {}}))
            .unwrap();
        assert_eq!(store.since("pods", seen).unwrap().len(), 1);
        store.forget("pods");
        assert_eq!(store.since("pods", seen).unwrap_err().oldest, seen + 1);
    }
}
