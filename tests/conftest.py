"""One thread a test run, so that two suites on one machine don't spin against each other."""

import os

import pytest

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import torch  # noqa: E402  after the variables, which are read at import


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
