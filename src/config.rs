//! Options of all layers, composed.
