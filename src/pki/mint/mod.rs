//! Throw-away CAs and certificates for the twin and for tests.
//!
//! Real certificates in Istio's profile, so that nothing that reads them can tell a difference,
//! with ECDSA P-256 keys unless said otherwise, because they are made in thousands. Nothing here
//! ever signs for a real cluster.
//!
//! What is wrong in the wild can be had by name: [`Oddity`] for one certificate, [`Defect`] for an
//! identity as a whole.

mod authority;
mod der;
mod oddity;
mod serving;
mod spec;
mod specimen;

pub use authority::Authority;
pub use oddity::Oddity;
pub use serving::{Serving, serving};
pub use spec::{CaSpec, KeySpec, LeafSpec};
pub use specimen::{Defect, Specimen};

/// Why something could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The key is no use.
    #[error("minting: {0}")]
    Key(#[from] super::KeyError),
    /// The certificate that came out, or was given, is not readable.
    #[error("minting: {0}")]
    Cert(#[from] super::CertError),
    /// The generator refused.
    #[error("minting a certificate: {0}")]
    Generator(#[from] rcgen::Error),
    /// The given certificate cannot issue.
    #[error("minting: `{subject}` {reason}")]
    NotACa {
        /// Its name.
        subject: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The system has no randomness.
    #[error("minting: the system's random generator failed")]
    Random,
    /// A certificate that was to be spoiled has another shape than expected.
    #[error("minting: the certificate has not the shape that an oddity changes")]
    Shape,
    /// No defect is called so.
    #[error("minting: there is no defect `{name}`")]
    UnknownDefect {
        /// What was asked for.
        name: String,
    },
    /// A name that cannot be encoded.
    #[error(
        "minting: attribute `{attribute}` of a subject is not known (known: CN, O, OU, C, ST, L, DC)"
    )]
    UnknownAttribute {
        /// The attribute.
        attribute: String,
    },
}
