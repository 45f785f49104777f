"""All tests: few threads, scale smoke, a cache of their own, the same random numbers at each run; which tests are slow; what
may be skipped in CI.

VLMCOURSE_TEST_SEED=n (a number, 0 where it isn't set) draws other random numbers for the checks of exercises.
"""

import os
import random
import re
from pathlib import Path

import pytest
import torch

SLOW = Path(__file__).parent / "slow"
# With VLMCOURSE_NO_SKIPS=1 a session fails if it skips for any other reason: what isn't run isn't tested.
MAY_BE_SKIPPED = (
    r"needs (open-flamingo|flamingo-pytorch)",  # peers of the benchmarks, installed by make bench
    r"need cosmic-ray",  # a tool of developers
    r"this is the ordinary user already",
    r"only root chooses user ids",
    r"python\.exe",  # Windows
    r"held by test_lesson_standard",  # lessons of the second edition
)
WITHOUT_BROWSER = (r"no playwright", r"no browser", r"no axe")  # where none could be installed


def pytest_collection_modifyitems(items):
    """Whatever lies in tests/slow is slow."""
    for item in items:
        if SLOW in item.path.parents:
            item.add_marker(pytest.mark.slow)


def unexpected(reasons, environment=os.environ):
    """Those of the reasons for skipping that the list above doesn't hold."""
    allowed = MAY_BE_SKIPPED + (() if environment.get("VLMCOURSE_BROWSER") else WITHOUT_BROWSER)
    return sorted({reason for reason in reasons if not re.search("|".join(allowed), reason)})


def pytest_sessionfinish(session, exitstatus):
    """Where VLMCOURSE_NO_SKIPS is set: fail if something was skipped that should have run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    is_worker = hasattr(session.config, "workerinput")
    if is_worker or reporter is None or not os.environ.get("VLMCOURSE_NO_SKIPS"):
        return
    reasons = [
        report.longrepr[2].removeprefix("Skipped: ") for report in reporter.stats.get("skipped", [])
    ]
    if unknown := unexpected(reasons):
        reporter.write_line("skipped, though it should have run: " + "; ".join(unknown), red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def _small_and_private(tmp_path_factory):
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLMCOURSE_SCALE", "smoke")
        patch.setenv("VLMCOURSE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(autouse=True)
def _reproducible(request, monkeypatch):
    """A test's random numbers come from its own name, so that what fails once fails again."""
    seed = os.environ.get("VLMCOURSE_TEST_SEED", "0")
    numbers = random.Random(f"{seed} {request.node.nodeid}")
    torch.manual_seed(numbers.getrandbits(31))
    monkeypatch.setattr("teaching.exercises.fresh_seed", lambda: numbers.getrandbits(31))


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """A cache for one file's tests: what another file trained, or this one when it was set up before, is not found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLMCOURSE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
