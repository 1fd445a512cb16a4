//! Camera moves of other programs.
