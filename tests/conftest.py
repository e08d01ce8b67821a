"""One thread a test run, so that two suites don't spin against each other; no screen is needed."""

import os

import pytest

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ["MPLBACKEND"] = "Agg"

import matplotlib.pyplot as plt  # noqa: E402  after the variables, which are read at import
import torch  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread_and_no_figures_left():
    torch.set_num_threads(1)
    yield
    plt.close("all")
