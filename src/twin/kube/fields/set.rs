//! Sets of fields, and their notation in `managedFields` (`FieldsV1`).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A set of fields, as a tree of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// Whether the field at this place is in the set itself.
    member: bool,
    below: BTreeMap<String, Set>,
}

impl Set {
    /// Reads `fieldsV1`.
    pub fn read(value: &Value) -> Set {
        let mut set = Set::default();
        for (name, value) in value.as_object().into_iter().flatten() {
            if name == "." {
                set.member = true;
            } else {
                let mut child = Set::read(value);
                // A field with nothing below it is in the set.
                child.member |= child.below.is_empty();
                set.below.insert(name.clone(), child);
            }
        }
        set
    }

    /// Writes `fieldsV1`.
    pub fn write(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.below.is_empty() {
            map.insert(".".to_owned(), json!({}));
        }
        for (name, child) in &self.below {
            map.insert(name.clone(), child.write());
        }
        Value::Object(map)
    }

    /// Adds the field at this place.
    pub fn own(&mut self) {
        self.member = true;
    }

    /// The place below this one of a name; made if it is not there.
    pub fn child(&mut self, name: &str) -> &mut Set {
        self.below.entry(name.to_owned()).or_default()
    }

    /// Whether a place below this one is in the set, or has members below it.
    pub fn below(&self, name: &str) -> Option<&Set> {
        self.below.get(name)
    }

    /// The names below this place.
    pub fn names(&self) -> impl Iterator<Item = (&String, &Set)> {
        self.below.iter()
    }

    /// Whether the field at this place is in the set.
    pub fn is_member(&self) -> bool {
        self.member
    }

    /// Whether there is no field in it.
    pub fn is_empty(&self) -> bool {
        !self.member && self.below.values().all(Set::is_empty)
    }

    /// The fields that are in either.
    pub fn union(&self, other: &Set) -> Set {
        let mut both = self.clone();
        both.member |= other.member;
        for (name, child) in &other.below {
            let merged = match both.below.get(name) {
                Some(own) => own.union(child),
                None => child.clone(),
            };
            both.below.insert(name.clone(), merged);
        }
        both
    }

    /// The fields that are in both.
    pub fn intersection(&self, other: &Set) -> Set {
        let mut both = Set {
            member: self.member && other.member,
            below: BTreeMap::new(),
        };
        for (name, child) in &self.below {
            if let Some(of_other) = other.below.get(name) {
                let common = child.intersection(of_other);
                if !common.is_empty() {
                    both.below.insert(name.clone(), common);
                }
            }
        }
        both
    }

    /// The fields that are in this one only.
    pub fn difference(&self, other: &Set) -> Set {
        let mut rest = Set {
            member: self.member && !other.member,
            below: BTreeMap::new(),
        };
        for (name, child) in &self.below {
            let left = match other.below.get(name) {
                Some(of_other) => child.difference(of_other),
                None => child.clone(),
            };
            if !left.is_empty() {
                rest.below.insert(name.clone(), left);
            }
        }
        rest
    }

    /// All fields in it as errors print them.
    pub fn paths(&self) -> Vec<String> {
        let mut all = Vec::new();
        self.add_paths("", &mut all);
        all
    }

    fn add_paths(&self, path: &str, all: &mut Vec<String>) {
        if self.member {
            all.push(path.to_owned());
        }
        for (name, child) in &self.below {
            child.add_paths(&format!("{path}{}", super::shown(name)), all);
        }
    }
}
