//! JSON patch (RFC 6902), with the leniency of the library that API servers use: `replace` of a
//! missing key adds it.

use serde_json::Value;

/// Applies the operations in order; the first that cannot be applied ends it.
pub fn apply(target: &mut Value, operations: &[Value]) -> Result<(), ()> {
    operations.iter().try_for_each(|o| one(target, o))
}

fn one(target: &mut Value, operation: &Value) -> Result<(), ()> {
    let text = |field: &str| operation[field].as_str().ok_or(());
    let path = segments(text("path")?)?;
    let value = || operation.get("value").cloned().ok_or(());
    match text("op")? {
        "add" => add(target, &path, value()?),
        "copy" => {
            let from = get(target, &segments(text("from")?)?)?.clone();
            add(target, &path, from)
        }
        "move" => {
            let from = remove(target, &segments(text("from")?)?)?;
            add(target, &path, from)
        }
        "remove" => remove(target, &path).map(|_| ()),
        "replace" => replace(target, &path, value()?),
        "test" => {
            let wish = operation.get("value").unwrap_or(&Value::Null);
            let is = get(target, &path).unwrap_or(&Value::Null);
            if is == wish { Ok(()) } else { Err(()) }
        }
        _ => Err(()),
    }
}

fn segments(path: &str) -> Result<Vec<String>, ()> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let rest = path.strip_prefix('/').ok_or(())?;
    Ok(rest
        .split('/')
        .map(|s| s.replace("~1", "/").replace("~0", "~"))
        .collect())
}

fn get<'a>(target: &'a Value, path: &[String]) -> Result<&'a Value, ()> {
    path.iter().try_fold(target, |at, segment| match at {
        Value::Object(map) => map.get(segment).ok_or(()),
        Value::Array(items) => items.get(index(segment, items.len())?).ok_or(()),
        _ => Err(()),
    })
}

/// The value that holds the last segment of a path, and that segment.
fn parent<'a, 'p>(
    target: &'a mut Value,
    path: &'p [String],
) -> Result<(&'a mut Value, &'p str), ()> {
    let (last, before) = path.split_last().ok_or(())?;
    let holder = before.iter().try_fold(target, |at, segment| match at {
        Value::Object(map) => map.get_mut(segment).ok_or(()),
        Value::Array(items) => {
            let at = index(segment, items.len())?;
            items.get_mut(at).ok_or(())
        }
        _ => Err(()),
    })?;
    Ok((holder, last))
}

fn add(target: &mut Value, path: &[String], value: Value) -> Result<(), ()> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    match parent(target, path)? {
        (Value::Object(map), key) => {
            map.insert(key.to_owned(), value);
            Ok(())
        }
        (Value::Array(items), "-") => {
            items.push(value);
            Ok(())
        }
        (Value::Array(items), key) => {
            let at = index(key, items.len() + 1)?;
            if at > items.len() {
                return Err(());
            }
            items.insert(at, value);
            Ok(())
        }
        _ => Err(()),
    }
}

fn replace(target: &mut Value, path: &[String], value: Value) -> Result<(), ()> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    match parent(target, path)? {
        (Value::Object(map), key) => {
            map.insert(key.to_owned(), value);
            Ok(())
        }
        (Value::Array(items), key) => {
            let at = index(key, items.len())?;
            *items.get_mut(at).ok_or(())? = value;
            Ok(())
        }
        _ => Err(()),
    }
}

fn remove(target: &mut Value, path: &[String]) -> Result<Value, ()> {
    match parent(target, path)? {
        (Value::Object(map), key) => map.remove(key).ok_or(()),
        (Value::Array(items), key) => {
            let at = index(key, items.len())?;
            if at < items.len() {
                Ok(items.remove(at))
            } else {
                Err(())
            }
        }
        _ => Err(()),
    }
}

/// An index; negative ones count from the end.
fn index(segment: &str, length: usize) -> Result<usize, ()> {
    let number: i64 = segment.parse().map_err(|_| ())?;
    if number >= 0 {
        return usize::try_from(number).map_err(|_| ());
    }
    let length = i64::try_from(length).map_err(|_| ())?;
    usize::try_from(length + number).map_err(|_| ())
}
