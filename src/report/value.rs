//! A script's result as text: any JSON value, without knowing what it means.
//!
//! A map becomes aligned lines, its plain values first; an array of maps becomes a table; so does
//! `#{columns: [...], rows: [[...], ...]}`, whose columns keep their order. Underscores in names
//! become spaces. A map with `shown_as`, an array of texts, maps and tables, is shown as these in
//! their order; the rest of it is for programs, which do not get `shown_as`.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Map, Value};

/// Renders a value; the text ends with a line end, unless the value is null or empty.
pub fn render(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) => match (map.get(super::SHOWN_AS), table_of(map)) {
            (Some(Value::Array(parts)), _) => {
                for part in parts {
                    // An empty text is an empty line.
                    let text = render(part);
                    out.push_str(if part == "" { "\n" } else { &text });
                }
            }
            (_, Some(table)) => push_block(&mut out, &table, 0),
            (_, None) => render_map(&mut out, map, 0),
        },
        Value::Array(items) if is_rows(items) => push_block(&mut out, &table_of_maps(items), 0),
        Value::Array(items) => items
            .iter()
            .for_each(|item| push_block(&mut out, &inline(item), 0)),
        Value::Null => {}
        plain => push_block(&mut out, &inline(plain), 0),
    }
    out
}

fn render_map(out: &mut String, map: &Map<String, Value>, indent: usize) {
    let (plain, nested): (Vec<_>, Vec<_>) = map.iter().partition(|(_, v)| is_plain(v));
    let width = plain.iter().map(|(k, _)| title(k).len()).max().unwrap_or(0);
    for (key, value) in plain {
        let text = inline(value);
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        push_block(out, &format!("{:width$}  {first}", title(key)), indent);
        for line in lines {
            push_block(out, line, indent + width + 2);
        }
    }
    for (key, value) in nested {
        push_block(out, &title(key), indent);
        match value {
            Value::Object(inner) => match table_of(inner) {
                Some(table) => push_block(out, &table, indent + 2),
                None => render_map(out, inner, indent + 2),
            },
            Value::Array(items) if is_rows(items) => {
                push_block(out, &table_of_maps(items), indent + 2);
            }
            Value::Array(items) => {
                for item in items {
                    push_block(out, &inline(item), indent + 2);
                }
            }
            other => push_block(out, &inline(other), indent + 2),
        }
    }
}

/// Values that stand on the line of their name.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Array(items) => {
            items.iter().all(|i| !i.is_object() && !i.is_array())
                && items.iter().map(|i| inline(i).len() + 2).sum::<usize>() <= 80
        }
        Value::Object(map) => map.is_empty(),
        _ => true,
    }
}

fn is_rows(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(Value::is_object)
}

/// `{columns, rows}` as a table, if the map is one.
fn table_of(map: &Map<String, Value>) -> Option<String> {
    let (Some(Value::Array(columns)), Some(Value::Array(rows)), 2) =
        (map.get("columns"), map.get("rows"), map.len())
    else {
        return None;
    };
    let rows = rows.iter().map(|row| match row {
        Value::Array(cells) => cells.iter().map(inline).collect(),
        other => vec![inline(other)],
    });
    Some(table(columns.iter().map(inline).collect(), rows.collect()))
}

fn table_of_maps(items: &[Value]) -> String {
    let maps: Vec<&Map<String, Value>> = items.iter().filter_map(Value::as_object).collect();
    let mut columns: Vec<&String> = Vec::new();
    for key in maps.iter().flat_map(|m| m.keys()) {
        if !columns.contains(&key) {
            columns.push(key);
        }
    }
    let rows = maps.iter().map(|map| {
        columns
            .iter()
            .map(|c| map.get(*c).map(inline).unwrap_or_default())
            .collect()
    });
    table(columns.iter().map(|c| title(c)).collect(), rows.collect())
}

fn table(header: Vec<String>, rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.iter().map(|h| h.to_uppercase()));
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.to_string()
}

fn inline(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) if items.iter().all(|i| !i.is_object() && !i.is_array()) => {
            items.iter().map(inline).collect::<Vec<_>>().join(", ")
        }
        Value::Object(map) if map.is_empty() => "none".to_owned(),
        other => other.to_string(),
    }
}

fn title(key: &str) -> String {
    key.replace('_', " ")
}

fn push_block(out: &mut String, text: &str, indent: usize) {
    for line in text.lines() {
        let line = line.trim_end();
        if !line.is_empty() {
            out.push_str(&" ".repeat(indent));
            out.push_str(line);
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_map_is_aligned_lines_then_what_is_nested() {
        let value = json!({
          "proxies_moved": 12,
          "matrix": {"columns": ["client", "server", "now"], "rows": [["shop", "pay", "yes"], ["legacy-shop", "pay", "no"]]},
          "roots": ["CITADEL", "MESHCA"],
          "signers": [{"ca": "MESHCA", "proxies": 12}],
          "empty": [],
        });
        assert_eq!(
            render(&value),
            "empty          none\n\
             proxies moved  12\n\
             roots          CITADEL, MESHCA\n\
             matrix\n\
             \x20 CLIENT       SERVER  NOW\n\
             \x20 shop         pay     yes\n\
             \x20 legacy-shop  pay     no\n\
             signers\n\
             \x20 CA      PROXIES\n\
             \x20 MESHCA  12\n"
        );
    }

    #[test]
    fn a_map_may_say_how_it_is_shown() {
        let value = json!({
          "proxies": [1, 2, 3],
          "shown_as": ["3 proxies", "", {"columns": ["pod", "root"], "rows": [["a", "b"]]}, {"next": "nothing"}],
        });
        assert_eq!(
            render(&value),
            "3 proxies\n\nPOD  ROOT\na    b\nnext  nothing\n"
        );
    }

    #[test]
    fn plain_values_are_lines_and_null_is_nothing() {
        assert_eq!(render(&json!(null)), "");
        assert_eq!(render(&json!("two\nlines")), "two\nlines\n");
        assert_eq!(render(&json!([1, "b"])), "1\nb\n");
        assert_eq!(render(&json!(42)), "42\n");
    }
}
