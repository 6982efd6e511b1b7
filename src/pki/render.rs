//! Certificates as a person reads them: what decides about trust first, a line for each fact.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::name::printable;
use super::{Bundle, Cert, when};

impl Cert {
    /// Some lines about the certificate, as of `now`: what it is and whose, who issued it, until
    /// when, for what. Without a line break at the end.
    pub fn describe(&self, now: Timestamp) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            if !value.is_empty() {
                let break_before = if text.is_empty() { "" } else { "\n" };
                let _ = write!(text, "{break_before}{name:<11}{}", printable(value));
            }
        };
        line(self.role(), &self.display_name());
        if !self.subject().is_empty() {
            line("URI", &self.uris().join(" "));
        } else if let Some((_, more)) = self.uris().split_first() {
            line("URI", &more.join(" "));
        }
        line("DNS", &self.dns_names().join(" "));
        let ips: Vec<String> = self
            .ip_addresses()
            .iter()
            .map(ToString::to_string)
            .collect();
        line("IP", &ips.join(" "));
        line("e-mail", &self.email_addresses().join(" "));
        line("other name", &self.other_names().join(" "));
        line("issuer", &self.issuer_in_words());
        line("valid", &self.validity_in_words(now));
        line(
            "key",
            &format!(
                "{}, signed with {}",
                self.key_kind(),
                self.signature_algorithm()
            ),
        );
        line("usage", &self.usage_in_words());
        line("serial", &self.serial());
        line("sha256", &self.sha256().to_string());
        text
    }

    /// One line: the fingerprint's beginning, what it is, its name, until when.
    pub fn summary(&self, now: Timestamp) -> String {
        let name = self.display_name();
        let short = self.sha256().short();
        let name = if name == short {
            "without a name"
        } else {
            &name
        };
        let role = self.role();
        format!("{short}  {role:<8}  {name}  {}", self.state(now))
    }

    fn role(&self) -> &'static str {
        match (self.is_ca(), self.is_self_signed()) {
            (true, Some(true)) => "root",
            (true, None) => "CA",
            (true, Some(false)) => "sub-CA",
            (false, _) if self.uris().iter().any(|uri| uri.starts_with("spiffe://")) => "workload",
            (false, _) => "leaf",
        }
    }

    fn issuer_in_words(&self) -> String {
        match self.is_self_signed() {
            Some(true) => "itself".to_owned(),
            _ if self.is_self_issued() => format!("{} (the same name, another key)", self.issuer()),
            _ => self.issuer(),
        }
    }

    fn validity_in_words(&self, now: Timestamp) -> String {
        let lifetime = self.not_after().duration_since(self.not_before());
        format!(
            "{} to {} ({}), {}",
            when::instant(self.not_before()),
            when::instant(self.not_after()),
            when::duration(lifetime.as_secs().unsigned_abs()),
            self.state(now)
        )
    }

    fn state(&self, now: Timestamp) -> String {
        let distance = |span: SignedDuration| when::duration(span.as_secs().unsigned_abs());
        if now < self.not_before() {
            let until = self.not_before().duration_since(now);
            format!("NOT YET VALID for {}", distance(until))
        } else if self.valid_at(now) {
            format!("expires in {}", distance(self.expires_in(now)))
        } else {
            format!("EXPIRED {} ago", distance(self.expires_in(now)))
        }
    }

    fn usage_in_words(&self) -> String {
        let mut parts = Vec::new();
        match (self.is_ca(), self.path_len()) {
            (false, _) => parts.push("not a CA".to_owned()),
            (true, None) => parts.push("CA".to_owned()),
            (true, Some(limit)) => parts.push(format!("CA (path length {limit})")),
        }
        parts.extend(self.key_usages().map(|usages| usages.join(", ")));
        parts.extend(self.extended_key_usages().map(|usages| usages.join(", ")));
        if self.is_ca() && !self.can_sign_certs() {
            parts.push("MAY NOT SIGN".to_owned());
        }
        parts.join("; ")
    }
}

impl Bundle {
    /// A line for each certificate in the order of [`Bundle::pem`], as of `now`; without a line
    /// break at the end.
    pub fn describe(&self, now: Timestamp) -> String {
        if self.is_empty() {
            return "an empty bundle".to_owned();
        }
        let lines: Vec<String> = self
            .in_istios_order()
            .map(|cert| cert.summary(now))
            .collect();
        lines.join("\n")
    }
}
