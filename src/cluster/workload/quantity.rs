//! Amounts as Kubernetes writes them: `500m`, `2`, `128Mi`, `1e3`.

/// An amount in thousandths: of a CPU, of a byte, of a pod. None for what is no amount.
///
/// Kubernetes `resource.Quantity`: a decimal number and a suffix, binary (`Ki` to `Ei`), decimal (`n`
/// to `E`) or an exponent. Fractions of a thousandth are rounded up, as Kubernetes does.
pub(super) fn milli(text: &str) -> Option<i128> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || whole.len() + fraction.len() > 18 {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    // The value is digits * numerator / denominator, in thousandths.
    let mut numerator: i128 = 1000;
    let mut denominator = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    match suffix {
        "" => {}
        "n" => denominator *= 1_000_000_000,
        "u" => denominator *= 1_000_000,
        "m" => denominator *= 1000,
        "k" => numerator *= 1000,
        "M" => numerator *= 1_000_000,
        "G" => numerator *= 1_000_000_000,
        "T" => numerator *= 1_000_000_000_000,
        "P" => numerator *= 1_000_000_000_000_000,
        "E" => numerator *= 1_000_000_000_000_000_000,
        "Ki" => numerator <<= 10,
        "Mi" => numerator <<= 20,
        "Gi" => numerator <<= 30,
        "Ti" => numerator <<= 40,
        "Pi" => numerator <<= 50,
        "Ei" => numerator <<= 60,
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let factor = 10_i128
                .checked_pow(power.unsigned_abs())
                .filter(|_| power.abs() <= 18)?;
            if power < 0 {
                denominator *= factor;
            } else {
                numerator *= factor;
            }
        }
    }
    let scaled = digits.checked_mul(numerator)?;
    let value = scaled / denominator + i128::from(scaled % denominator != 0);
    Some(if negative { -value } else { value })
}

/// Thousandths as people write them: `500m`, `2`, `128Mi`.
pub(super) fn shown(resource: &str, milli: i128) -> String {
    if resource == "memory" {
        let bytes = milli / 1000;
        return if bytes >= 1 << 20 {
            format!("{}Mi", bytes >> 20)
        } else {
            bytes.to_string()
        };
    }
    if milli % 1000 == 0 {
        (milli / 1000).to_string()
    } else {
        format!("{milli}m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_kubernetes_reads_them() {
        for (text, value) in [
            ("2", 2000),
            ("500m", 500),
            ("0.1", 100),
            ("1.5", 1500),
            (".5", 500),
            ("1Ki", 1_024_000),
            ("128Mi", 134_217_728_000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("5e-1", 500),
            ("100n", 1),
            ("-1", -1000),
        ] {
            assert_eq!(milli(text), Some(value), "{text}");
        }
        assert_eq!(milli("1E"), Some(1_000_000_000_000_000_000_000));
        for bad in ["", "Mi", "1Xi", "1.2.3x", "abc", "1e99", "e3"] {
            assert_eq!(milli(bad), None, "{bad}");
        }
        assert_eq!(shown("cpu", 1500), "1500m");
        assert_eq!(shown("memory", 134_217_728_000), "128Mi");
    }
}
