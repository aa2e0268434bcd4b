"""Child processes as their parent sees them: starting, watching and ending them."""
