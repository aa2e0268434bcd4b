"""Measuring one conversion in a process of its own.

``launcher`` is the parent's side, ``worker`` the child's; ``events`` is what they share. Everything that
imports torch is imported by the worker only.
"""
