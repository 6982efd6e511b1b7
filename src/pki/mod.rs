//! X.509: certificates, bundles, path building, keys, handshakes.
