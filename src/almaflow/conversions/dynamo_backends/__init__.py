"""Backends of ``torch.compile`` that almaflow brings. Runs in the worker."""
