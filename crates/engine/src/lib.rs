//! Outframe: engine.
