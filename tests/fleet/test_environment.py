"""Nothing secret is passed on to what measures."""

from __future__ import annotations

from almaflow.fleet.environment import measuring_environment


def test_only_what_is_on_the_list_is_passed_on() -> None:
    passed = {
        "PATH": "/bin",
        "HOME": "/home/ann",
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "2",
        "CUDA_VISIBLE_DEVICES": "0",
        "ALMAFLOW_HOME": "/data",
        "https_proxy": "http://proxy:3128",
    }
    kept_back = {
        "MLFLOW_TRACKING_URI": "http://server",
        "MLFLOW_TRACKING_PASSWORD": "S3cret-word",
        "RAY_AUTH_TOKEN": "abc",
        "RAY_ADDRESS": "head:6379",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
        "AWS_PROFILE": "work",
        "GOOGLE_APPLICATION_CREDENTIALS": "/key.json",
        "AZURE_CLIENT_ID": "x",
        "HF_TOKEN": "hf_x",
        "SSH_AUTH_SOCK": "/run/ssh",
        "ANYTHING": "else",
    }
    assert measuring_environment(passed | kept_back) == passed


def test_a_secret_under_a_name_on_the_list_is_kept_back() -> None:
    assert measuring_environment({"HTTP_PROXY": "http://ann:S3cret-word@proxy", "TORCH_TOKEN": "a1b2c3d4e5"}) == {}
