//! What runs in a mesh: proxies, revisions, CAs, verdicts, the trust matrix.
