//! Which manager owns which fields: `metadata.managedFields`, for updates and for server-side apply.

use serde_json::{Value, json};

use super::fields::{self, Set, Type};
use super::ops::{Part, Target, WriteOptions, metadata, now};
use super::registry::Resource;
use super::rules;
use super::status::Status;

/// Who owns what there was in an object without managers when it is applied for the first time.
const BEFORE_APPLY: &str = "before-first-apply";

/// The manager of kubectl's server-side apply, which may take over what its client-side apply has written.
const KUBECTL: &str = "kubectl";

/// Where client-side apply keeps what it applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Who is entered for a write.
#[derive(Clone, Debug)]
pub struct Manager<'a> {
    resource: &'a Resource,
    name: &'a str,
    api_version: String,
    subresource: &'static str,
}

/// One entry of `managedFields`.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    manager: String,
    applies: bool,
    api_version: String,
    subresource: String,
    time: Value,
    set: Set,
}

impl<'a> Manager<'a> {
    /// The manager of a write.
    pub fn of(target: Target<'a>, options: &'a WriteOptions, part: Part) -> Manager<'a> {
        Manager {
            resource: target.resource,
            name: &options.manager,
            api_version: target.api_version(),
            subresource: part.subresource(),
        }
    }

    fn is(&self, entry: &Entry, applies: bool) -> bool {
        entry.manager == self.name
            && entry.applies == applies
            && entry.subresource == self.subresource
            && (applies || entry.api_version == self.api_version)
    }

    fn entry(&self, applies: bool, set: Set) -> Entry {
        Entry {
            manager: self.name.to_owned(),
            applies,
            api_version: self.api_version.clone(),
            subresource: self.subresource.to_owned(),
            time: now(),
            set,
        }
    }

    /// The fields that this manager cannot own, whatever it writes.
    fn ignored(&self) -> Set {
        let mut ignored = fields::unowned();
        if self.subresource.is_empty() && rules::has_status(self.resource) {
            ignored.child("f:status").own();
        }
        ignored
    }

    /// Takes out what it cannot own.
    fn owned(&self, set: &Set) -> Set {
        let mut left = set.difference(&self.ignored());
        if self.subresource.is_empty() && rules::has_status(self.resource) {
            let mut status = Set::default();
            if let Some(below) = set.below("f:status") {
                *status.child("f:status") = below.clone();
            }
            left = left.difference(&status);
        }
        left
    }
}

/// Enters the manager of a new object.
pub fn created(object: &mut Value, manager: &Manager<'_>) {
    let (kind, of) = fields::type_of(manager.resource);
    let empty = fields::empty_object(of);
    let found = fields::compare(&empty, object, Type::root(kind.as_ref()));
    let set = manager.owned(&found.added.union(&found.modified));
    let entries = if set.is_empty() {
        Vec::new()
    } else {
        vec![manager.entry(false, set)]
    };
    write(object, &entries);
}

/// Enters the manager of what changed.
pub fn updated(before: &Value, after: &mut Value, manager: &Manager<'_>) {
    restore(after, known(before, after, manager));
    if after["metadata"].get("managedFields").is_none() {
        // An object that nobody manages stays so until it is applied.
        return;
    }
    let (kind, _) = fields::type_of(manager.resource);
    let found = fields::compare(before, after, Type::root(kind.as_ref()));
    let changed = manager.owned(&found.added.union(&found.modified));
    let mut entries = read(after);
    if changed.is_empty() && found.removed.is_empty() {
        return;
    }
    for entry in &mut entries {
        if !manager.is(entry, false) {
            entry.set = entry.set.difference(&changed);
        }
        entry.set = entry.set.difference(&found.removed);
    }
    if !changed.is_empty() {
        match entries.iter_mut().find(|e| manager.is(e, false)) {
            Some(own) => {
                own.set = own.set.union(&changed);
                own.time = now();
            }
            None => entries.push(manager.entry(false, changed)),
        }
    }
    write(after, &entries);
}

/// The managers that an update starts from: those that it carries itself, unless it is of a subresource or
/// carries none. It can take them all away, by an empty list or an empty entry.
fn known(before: &Value, after: &Value, manager: &Manager<'_>) -> Option<Value> {
    let stored = before["metadata"].get("managedFields").cloned();
    let Some(carried) = after["metadata"]["managedFields"].as_array() else {
        return stored;
    };
    if !manager.subresource.is_empty() {
        return stored;
    }
    match carried.as_slice() {
        [] => None,
        [only] if *only == json!({}) => None,
        _ => Some(carried.clone().into()),
    }
}

/// Whether a write changes nothing but who owns what since when.
pub fn same(before: &Value, after: &Value) -> bool {
    if before == after {
        return true;
    }
    let timeless = |object: &Value| {
        let mut object = object.clone();
        let entries = object["metadata"]
            .get_mut("managedFields")
            .and_then(Value::as_array_mut);
        for entry in entries.into_iter().flatten() {
            entry["time"] = Value::Null;
        }
        object
    };
    let tracked = |object: &Value| object["metadata"].get("managedFields").is_some();
    (tracked(before) || tracked(after)) && timeless(before) == timeless(after)
}

/// Merges an applied configuration into an object, with its managers.
///
/// # Errors
/// 409: another manager owns a field that it would change, and it does not insist.
pub fn apply(
    live: Option<&Value>,
    wanted: &Value,
    manager: &Manager<'_>,
    force: bool,
) -> Result<Value, Status> {
    let (kind, of) = fields::type_of(manager.resource);
    let of_object = Type::root(kind.as_ref());
    let empty = fields::empty_object(of);
    let before = live.unwrap_or(&empty);
    let mut entries = read(before);
    if live.is_some() && entries.is_empty() {
        let own = Manager {
            name: BEFORE_APPLY,
            ..manager.clone()
        };
        let found = fields::compare(&empty, before, of_object);
        let set = own.owned(&found.added.union(&found.modified));
        entries.push(own.entry(false, set));
    }
    let set = manager.owned(&fields::fields_of(wanted, of_object));
    let mut merged = fields::merge(before, wanted, of_object);
    // What it applied before and does not apply now goes, unless somebody else has it too.
    if let Some(at) = entries.iter().position(|e| manager.is(e, true)) {
        let mut gone = entries[at].set.difference(&set);
        for (other, entry) in entries.iter().enumerate() {
            if other != at {
                gone = gone.difference(&with_ancestors(&entry.set));
            }
        }
        gone = gone.difference(&with_ancestors(&set));
        fields::remove(&mut merged, &gone, of_object);
    }
    restore(
        &mut merged,
        before["metadata"].get("managedFields").cloned(),
    );
    let found = fields::compare(before, &merged, of_object);
    let changed = manager.owned(&found.added.union(&found.modified));
    let (mut conflicts, mut clash) = (Vec::new(), Set::default());
    for entry in &mut entries {
        if manager.is(entry, true) {
            continue;
        }
        let conflict = entry.set.intersection(&changed);
        if !conflict.is_empty() {
            conflicts.push((shown(entry), conflict.paths()));
            clash = clash.union(&conflict);
            entry.set = entry.set.difference(&conflict);
        }
        entry.set = entry.set.difference(&found.removed);
    }
    let force = force || (manager.name == KUBECTL && is_last_applied(before, &clash, of_object));
    if !conflicts.is_empty() && !force {
        return Err(conflict(&conflicts));
    }
    match entries.iter_mut().find(|e| manager.is(e, true)) {
        Some(own) => {
            let same = own.set == set && own.api_version == manager.api_version;
            if !same || !changed.is_empty() || !found.removed.is_empty() {
                own.time = now();
            }
            own.set = set;
            own.api_version.clone_from(&manager.api_version);
        }
        None => entries.push(manager.entry(true, set)),
    }
    write(&mut merged, &entries);
    Ok(merged)
}

/// Whether fields are all among those of the last client-side apply: then it was kubectl itself that wrote them.
fn is_last_applied(object: &Value, fields: &Set, of: Type<'_>) -> bool {
    let text = object["metadata"]["annotations"][LAST_APPLIED].as_str();
    let Some(applied) = text.and_then(|t| serde_json::from_str::<Value>(t).ok()) else {
        return false;
    };
    fields
        .difference(&fields::fields_of(&applied, of))
        .is_empty()
}

/// A set with every place above its members, so that what holds them is not taken away.
fn with_ancestors(set: &Set) -> Set {
    let mut whole = Set::default();
    if !set.is_empty() {
        whole.own();
    }
    for (name, below) in set.names() {
        if !below.is_empty() {
            *whole.child(name) = with_ancestors(below);
        }
    }
    whole
}

fn shown(entry: &Entry) -> String {
    let place = match entry.subresource.as_str() {
        "" => String::new(),
        subresource => format!(" with subresource \"{subresource}\""),
    };
    let version = if entry.applies {
        String::new()
    } else {
        format!(" using {}", entry.api_version)
    };
    format!("\"{}\"{place}{version}", entry.manager)
}

fn conflict(conflicts: &[(String, Vec<String>)]) -> Status {
    let count: usize = conflicts.iter().map(|(_, paths)| paths.len()).sum();
    let mut sorted: Vec<&(String, Vec<String>)> = conflicts.iter().collect();
    sorted.sort();
    let text = match sorted.as_slice() {
        [(manager, paths)] if paths.len() == 1 => format!("conflict with {manager}: {}", paths[0]),
        all => all
            .iter()
            .map(|(manager, paths)| format!("conflicts with {manager}:\n- {}", paths.join("\n- ")))
            .collect::<Vec<_>>()
            .join("\n"),
    };
    let plural = if count == 1 { "" } else { "s" };
    let mut status = Status::new(
        409,
        "Conflict",
        format!("Apply failed with {count} conflict{plural}: {text}"),
    );
    let causes: Vec<Value> = sorted
        .iter()
        .flat_map(|(manager, paths)| {
            paths.iter().map(move |path| {
                json!({
                    "reason": "FieldManagerConflict",
                    "message": format!("conflict with {manager}"), "field": path,
                })
            })
        })
        .collect();
    status.details = Some(json!({"causes": causes}));
    status
}

fn read(object: &Value) -> Vec<Entry> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let all = object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten();
    all.map(|e| Entry {
        manager: text(&e["manager"]),
        applies: e["operation"] == "Apply",
        api_version: text(&e["apiVersion"]),
        subresource: text(&e["subresource"]),
        time: e["time"].clone(),
        set: Set::read(&e["fieldsV1"]),
    })
    .collect()
}

/// Appliers stand first, then the others by time and name.
fn write(object: &mut Value, entries: &[Entry]) {
    let mut kept: Vec<&Entry> = entries.iter().filter(|e| !e.set.is_empty()).collect();
    let key = |e: &Entry| {
        let time = e.time.as_str().unwrap_or_default().to_owned();
        (
            !e.applies,
            if e.applies { String::new() } else { time },
            e.manager.clone(),
        )
    };
    kept.sort_by_key(|e| key(e));
    let all: Vec<Value> = kept
        .iter()
        .map(|e| {
            let mut entry = json!({
                "manager": e.manager, "operation": if e.applies { "Apply" } else { "Update" },
                "apiVersion": e.api_version, "time": e.time,
                "fieldsType": "FieldsV1", "fieldsV1": e.set.write(),
            });
            if !e.subresource.is_empty() {
                entry["subresource"] = e.subresource.clone().into();
            }
            entry
        })
        .collect();
    restore(object, (!all.is_empty()).then_some(Value::Array(all)));
}

fn restore(object: &mut Value, managed: Option<Value>) {
    let meta = metadata(object);
    match managed {
        Some(managed) => meta.insert("managedFields".to_owned(), managed),
        None => meta.remove("managedFields"),
    };
}
