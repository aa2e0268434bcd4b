"""Register the schema with Hydra, which needs it to compose a job."""

from __future__ import annotations

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from almaflow.config.schema import JobConfig

SCHEMA = "schema"


def register() -> None:
    """Make the schema known to Hydra. Calling it again changes nothing."""
    schema = OmegaConf.structured(JobConfig)
    limits = schema.hardware.limits
    rates = limits.gflops, limits.conv_gflops
    loaders = schema.model.calibration_loader.kwargs, schema.evaluate.kwargs
    for free in (schema.model.kwargs, schema.model.data_loader.kwargs, schema.predictor, *rates, *loaders):
        OmegaConf.set_struct(free, value=False)  # so that model.kwargs.num_classes=10 needs no plus sign
    ConfigStore.instance().store(name=SCHEMA, node=schema)
