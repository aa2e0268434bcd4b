"""Predictions from operators as the runtime executes them, whose times were measured one by one."""
