"""What Python programs and notebooks call: ``almaflow.validate``, ``almaflow.load_job`` and their results."""
