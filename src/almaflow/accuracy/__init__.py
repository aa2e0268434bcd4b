"""Accuracy over time, from records alone: series, their causes and alerts, and the summary of each."""
