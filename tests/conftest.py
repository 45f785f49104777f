"""All tests: few threads, scale smoke, a cache of their own."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _small_and_private(tmp_path_factory):
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLMCOURSE_SCALE", "smoke")
        patch.setenv("VLMCOURSE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """A cache for one file's tests: what another file trained, or this one when it was set up before, is not found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLMCOURSE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
