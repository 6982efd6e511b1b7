//! Rhai's positions (line and character, from 1) ⇄ byte spans of a text.

use std::ops::Range;

/// The bytes of the token at `line`, `column` (characters, from 1) of `text`.
///
/// A name is spanned whole; anything else is one character. Positions past the end of
/// a line, as errors about missing tokens have them, give an empty span at its end.
pub(super) fn span(text: &str, line: usize, column: usize) -> Range<usize> {
    let start_of_line = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum::<usize>()
        .min(text.len());
    let rest = &text[start_of_line..];
    let line = rest.split(['\n', '\r']).next().unwrap_or_default();
    let offset = line
        .char_indices()
        .nth(column.saturating_sub(1))
        .map_or(line.len(), |(at, _)| at);
    let start = start_of_line + offset;
    let token = &line[offset..];
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let name = token.find(|c| !is_name(c)).unwrap_or(token.len());
    let length = if name == 0 {
        token.chars().next().map_or(0, char::len_utf8)
    } else {
        name
    };
    start..start + length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_characters_and_names_are_spanned_whole() {
        let text = "let ü = 1;\nprüfe ( cluster::get );\n";
        assert_eq!(&text[span(text, 1, 5)], "ü");
        assert_eq!(&text[span(text, 2, 1)], "prüfe");
        assert_eq!(&text[span(text, 2, 9)], "cluster");
        assert_eq!(&text[span(text, 2, 7)], "(");
    }

    #[test]
    fn a_position_past_the_end_is_an_empty_span() {
        assert_eq!(span("let a", 1, 9), 5..5);
        assert_eq!(span("a\r\nb", 1, 2), 1..1);
        assert_eq!(span("a", 7, 1), 1..1);
    }
}
