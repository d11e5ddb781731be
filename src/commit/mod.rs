//! group commit.
// LEAD WRITES THIS LAYER on branch `cli`: see NOTE-FROM-LEAD.txt in the tree.
