//! Outframe: studio.
