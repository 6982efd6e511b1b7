//! Ages as `kubectl` prints them (`k8s.io/apimachinery/pkg/util/duration`).

use jiff::Timestamp;
use serde_json::Value;

/// How long ago a time of an object was; `<unknown>` without one.
pub fn since(time: &Value) -> String {
    let parsed = time.as_str().and_then(|t| t.parse::<Timestamp>().ok());
    match parsed {
        Some(at) => human(Timestamp::now().as_second() - at.as_second()),
        None => "<unknown>".to_owned(),
    }
}

/// A number of seconds in at most two units.
pub fn human(seconds: i64) -> String {
    let pair = |big: i64, unit: &str, small: i64, sub: &str| {
        if small == 0 {
            format!("{big}{unit}")
        } else {
            format!("{big}{unit}{small}{sub}")
        }
    };
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => pair(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => pair(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => pair(hours / 24, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{}d", hours / 24),
        63_072_000..252_288_000 => pair(hours / 8760, "y", hours / 24 % 365, "d"),
        _ => format!("{}y", hours / 8760),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units_at_most() {
        for (seconds, text) in [
            (5, "5s"),
            (119, "119s"),
            (121, "2m1s"),
            (3600, "60m"),
            (4 * 3600 + 60, "4h1m"),
            (30 * 3600, "30h"),
            (50 * 3600, "2d2h"),
            (400 * 86_400, "400d"),
        ] {
            assert_eq!(human(seconds), text);
        }
    }
}
