"""Recorded functions: which segments are measured, what the whole takes in each conversion, and the report."""
