"""Profiling sessions, recording: ``almaflow.accelerate`` and the session that cuts its calls into segments."""
