"""Provide almaflow's own backends of ``torch.compile``. Runs in the worker."""
