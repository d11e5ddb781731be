//! Wires storage, commit thread and shards.
// LEAD WRITES THIS FILE on branch `cli`: git merge cli. See NOTE-FROM-LEAD.txt in the tree.
