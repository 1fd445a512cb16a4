//! Outframe: diffusion.
