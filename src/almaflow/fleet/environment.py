"""The environment variables that a measuring program of a fleet gets: those on a list, and no others.

What carries orders has a token in its environment, and whoever started it may have credentials for a store or a cloud.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from almaflow.secrets import mask

if TYPE_CHECKING:
    from collections.abc import Mapping

PASSED = (
    # The process
    *("PATH", "HOME", "LANG", "LC_*", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH"),
    *("LD_PRELOAD", "MALLOC_*", "GLIBC_TUNABLES", "XDG_*_HOME", "CC", "CXX"),
    # almaflow: its home, and the name of the machine's lock
    *("ALMAFLOW_HOME", "ALMAFLOW_TEST_LOCK"),
    # Runtimes and the libraries that they compute with
    *("CUDA_*", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "OMP_*", "GOMP_*", "KMP_*", "MKL_*"),
    *("ONEDNN_*", "DNNL_*", "OPENBLAS_*", "TORCH_*", "PYTORCH_*", "TORCHINDUCTOR_*", "TRITON_*", "ATEN_CPU_CAPABILITY"),
    *("ORT_*", "OV_*", "TVM_*"),
    # Where models come from; a proxy with a password is masked below, and so left out
    *("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT", "TRANSFORMERS_OFFLINE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
)
"""Names of variables, or patterns of them."""


def measuring_environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that may be passed on, without any whose name or value says that it is a secret.

    Args:
        given: The variables of this process, unless others are given.
    """
    given = os.environ if given is None else given
    passed = {name: value for name, value in given.items() if any(fnmatchcase(name, each) for each in PASSED)}
    return {name: value for name, value in passed.items() if mask({name: value}) == {name: value}}
