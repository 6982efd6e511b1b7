//! What differs between two states of an object.

use serde_json::Value;

use super::{Set, Shape, Type, parts};

/// The fields that differ.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Fields that are new.
    pub added: Set,
    /// Fields with another value.
    pub modified: Set,
    /// Fields that are gone.
    pub removed: Set,
}

/// Compares two states.
pub fn compare(before: &Value, after: &Value, of: Type<'_>) -> Comparison {
    let mut all = Comparison::default();
    let mut places = (&mut all.added, &mut all.modified, &mut all.removed);
    walk(Some(before), Some(after), of, &mut places);
    all
}

type Places<'s> = (&'s mut Set, &'s mut Set, &'s mut Set);

fn walk(before: Option<&Value>, after: Option<&Value>, of: Type<'_>, sets: &mut Places<'_>) {
    if before == after {
        return;
    }
    let Some(any) = after.or(before) else { return };
    let shape = match of.shape(any) {
        // A deduced value may be a map on one side only.
        Shape::Map(_) if matches!(of, Type::Deduced) && !both_maps(before, after) => Shape::Whole,
        shape => shape,
    };
    if matches!(shape, Shape::Whole) {
        match (before, after) {
            (None, Some(_)) => sets.0.own(),
            (Some(_), None) => sets.2.own(),
            (Some(_), Some(_)) => sets.1.own(),
            (None, None) => {}
        }
        return;
    }
    let empty = Value::Null;
    let was = parts(shape, before.unwrap_or(&empty));
    let is = parts(shape, after.unwrap_or(&empty));
    for (name, value, kind) in &is {
        let known = was.iter().find(|(n, _, _)| n == name).map(|(_, v, _)| *v);
        descend(name, known, Some(value), *kind, sets);
    }
    for (name, value, kind) in &was {
        if !is.iter().any(|(n, _, _)| n == name) {
            descend(name, Some(value), None, *kind, sets);
        }
    }
    match (before, after) {
        (None, Some(_)) => sets.0.own(),
        (Some(_), None) => sets.2.own(),
        _ => {}
    }
}

fn both_maps(before: Option<&Value>, after: Option<&Value>) -> bool {
    before.is_none_or(Value::is_object) && after.is_none_or(Value::is_object)
}

fn descend(
    name: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    of: Type<'_>,
    sets: &mut Places<'_>,
) {
    if before == after {
        return;
    }
    let mut below = (Set::default(), Set::default(), Set::default());
    walk(
        before,
        after,
        of,
        &mut (&mut below.0, &mut below.1, &mut below.2),
    );
    for (set, found) in [
        (&mut *sets.0, below.0),
        (&mut *sets.1, below.1),
        (&mut *sets.2, below.2),
    ] {
        if !found.is_empty() {
            *set.child(name) = found;
        }
    }
}
