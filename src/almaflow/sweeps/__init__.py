"""Many jobs: the record of a sweep and its files."""
