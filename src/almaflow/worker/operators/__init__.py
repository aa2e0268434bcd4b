"""The operators that a runtime executes for a model, and the times of single ones: the child's side."""
