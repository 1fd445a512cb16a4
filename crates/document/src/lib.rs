//! Outframe: document.
