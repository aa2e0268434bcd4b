"""Define what every builder returns: a built model, evidence from its runtime, and its size. Runs in the worker."""
