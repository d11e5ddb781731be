//! Wires storage, commit thread and shards.
