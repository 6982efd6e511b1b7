//! The twin's asmcli.
