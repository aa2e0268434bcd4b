"""Scored runs in the store: read once, then as they grow; and the runs that sum up a series."""
