//! check_root_cert
