//! arguments to calls.
// LEAD WRITES THIS FILE on branch `cli`: git merge cli. See NOTE-FROM-LEAD.txt in the tree.
