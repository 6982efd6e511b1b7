//! Quantities of resources (`100m`, `1Gi`): whether a text is one, and how the API writes it.
//!
//! Numbers finer than a thousandth and larger than 2^63 thousandths are left as they are written.

/// Thousandths and the suffix' family, or nothing when the text is not a quantity.
pub fn parse(text: &str) -> Option<(i128, Family)> {
    let body = text.strip_prefix('+').unwrap_or(text);
    let (negative, body) = match body.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, body),
    };
    let digits = body
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(body.len());
    let (number, suffix) = body.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let (scale, family) = scale(suffix)?;
    let mut thousandths = digits_of(whole)?.checked_mul(scale)?;
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        let part = digits_of(fraction)?.checked_mul(scale)?;
        let by = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        thousandths += (part + by - 1) / by;
    }
    Some((if negative { -thousandths } else { thousandths }, family))
}

/// How a suffix counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// By 1024.
    Binary,
    /// By 1000.
    Decimal,
    /// By powers of ten, written with `e`.
    Exponent,
}

/// The text as the API writes the quantity.
pub fn canonical(text: &str) -> Option<String> {
    let (thousandths, family) = parse(text)?;
    if thousandths == 0 {
        return Some("0".to_owned());
    }
    if family == Family::Exponent {
        return Some(text.to_owned());
    }
    if family == Family::Binary && thousandths % 1000 == 0 {
        return Some(shortest(
            thousandths / 1000,
            1024,
            &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"],
        ));
    }
    Some(shortest(
        thousandths,
        1000,
        &["m", "", "k", "M", "G", "T", "P", "E"],
    ))
}

fn shortest(mut number: i128, by: i128, suffixes: &[&str]) -> String {
    let mut at = 0;
    while number % by == 0 && at + 1 < suffixes.len() {
        number /= by;
        at += 1;
    }
    format!("{number}{}", suffixes[at])
}

fn digits_of(text: &str) -> Option<i128> {
    if text.is_empty() {
        Some(0)
    } else {
        text.parse().ok()
    }
}

/// Thousandths in one of a suffix.
fn scale(suffix: &str) -> Option<(i128, Family)> {
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let decimal = ["", "k", "M", "G", "T", "P", "E"];
    if let Some(at) = binary.iter().position(|s| *s == suffix) {
        return Some((
            1000 * 1024_i128.pow(u32::try_from(at).ok()? + 1),
            Family::Binary,
        ));
    }
    if let Some(at) = decimal.iter().position(|s| *s == suffix) {
        return Some((
            1000 * 1000_i128.pow(u32::try_from(at).ok()?),
            Family::Decimal,
        ));
    }
    if suffix == "m" {
        return Some((1, Family::Decimal));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
    let shift = u32::try_from(exponent + 3).ok().filter(|s| *s < 30)?;
    Some((10_i128.pow(shift), Family::Exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_with_the_largest_suffix_that_loses_nothing() {
        for (from, to) in [
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("1536Mi", "1536Mi"),
            ("100m", "100m"),
            ("2000", "2k"),
            ("0", "0"),
        ] {
            assert_eq!(canonical(from).as_deref(), Some(to), "{from}");
        }
    }

    #[test]
    fn words_are_no_quantities() {
        for text in ["", "lots", "1.2.3", "1Zi", "--1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
