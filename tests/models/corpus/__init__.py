"""Tiny models of every kind that users bring, each with what is true of it by construction."""
