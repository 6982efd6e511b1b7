//! Numbers that may be percentages: `1`, `"25%"`, as `maxUnavailable` takes them.

use std::str::FromStr;

use serde_json::Value;

/// A number of things, or a percentage of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Count(i64),
    /// So many of a hundred.
    Percent(i64),
}

impl Share {
    /// What a field of an object says; none if it is absent or neither form.
    pub fn of(value: Option<&Value>) -> Option<Self> {
        match value? {
            Value::Number(number) => number.as_i64().map(Self::Count),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The number of `total` that it is, rounded down.
    pub fn floor(self, total: i64) -> i64 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => total * percent / 100,
        }
    }

    /// The number of `total` that it is, rounded up.
    pub fn ceil(self, total: i64) -> i64 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => (total * percent + 99) / 100,
        }
    }
}

impl FromStr for Share {
    type Err = String;

    /// `2` or `25%`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is neither a number nor a percentage such as `25%`");
        let (digits, percent) = match text.strip_suffix('%') {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let number = digits.parse().map_err(|_| wrong())?;
        Ok(if percent {
            Self::Percent(number)
        } else {
            Self::Count(number)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        let quarter: Share = "25%".parse().unwrap();
        assert_eq!((quarter.floor(3), quarter.ceil(3)), (0, 1));
        assert_eq!((quarter.floor(8), quarter.ceil(8)), (2, 2));
        assert_eq!("3".parse::<Share>().unwrap().floor(100), 3);
        for bad in ["", "%", "-1", "1.5", "a", "25 %", "9999999999"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }
}
