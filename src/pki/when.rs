//! Words for points in time: RFC 3339 with the distance to now.

use jiff::Timestamp;

/// `3h ago at 2026-11-22T10:00:00Z`, `in 2d 4h at …`.
pub(super) fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.as_second().saturating_sub(now.as_second());
    let distance = duration(seconds.unsigned_abs());
    let at = instant(at);
    if seconds > 0 {
        format!("in {distance} at {at}")
    } else {
        format!("{distance} ago at {at}")
    }
}

/// RFC 3339 to the second.
pub(super) fn instant(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second())
        .unwrap_or(at)
        .to_string()
}

/// The two largest units that are not zero: `10y 3d`, `5m 2s`, `0s`.
pub(super) fn duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 5] = [
        (365 * 86_400, "y"),
        (86_400, "d"),
        (3_600, "h"),
        (60, "m"),
        (1, "s"),
    ];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (size, unit) in UNITS {
        let count = rest / size;
        rest %= size;
        if count > 0 {
            parts.push(format!("{count}{unit}"));
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() {
        "0s".to_owned()
    } else {
        parts.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_read_well() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let at = |text: &str| relative(text.parse().unwrap(), now);
        assert_eq!(at("2026-11-22T07:00:00Z"), "3h ago at 2026-11-22T07:00:00Z");
        assert_eq!(
            at("2026-11-24T14:00:05Z"),
            "in 2d 4h at 2026-11-24T14:00:05Z"
        );
        assert_eq!(at("2026-11-22T10:00:00Z"), "0s ago at 2026-11-22T10:00:00Z");
        assert_eq!(at("2026-11-22T10:00:59Z"), "in 59s at 2026-11-22T10:00:59Z");
        assert_eq!(
            at("2036-11-20T10:00:00Z"),
            "in 10y 1d at 2036-11-20T10:00:00Z"
        );
    }
}
