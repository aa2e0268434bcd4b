"""The catalogue of conversions: what each is and needs, what can run here, and the plan. Runs without torch."""
