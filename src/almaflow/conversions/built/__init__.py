"""What every builder makes: a built model, what its runtime says of itself, and its size. Runs in the worker."""
