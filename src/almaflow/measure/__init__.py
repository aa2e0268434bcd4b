"""Measuring as the parent directs it: who takes turns when, when it is enough, and what became of each conversion."""
