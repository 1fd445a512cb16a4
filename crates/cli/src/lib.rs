//! Outframe: cli.
