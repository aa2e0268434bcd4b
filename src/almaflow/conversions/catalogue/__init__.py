"""List the conversions, check what can run here, and plan a job. Runs without torch."""
