"""A Jupyter server for the tests in a real browser. Not collected by pytest."""

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
PATIENCE = 60_000 * float(os.environ.get("VLMCOURSE_PATIENCE", 1))  # milliseconds
GRADER = Path(__file__).parents[1]


@contextmanager
def serving(command: Sequence[str], folder: Path, **environment: str) -> Iterator[str]:
    """A Jupyter server in a process of its own, from its first answer on. Gives its address.

    command  starts the server, but for its port: that goes where it says PORT
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(folder / ".jupyter"),
        "PYTHONPATH": str(GRADER),
        **environment,
    }
    server = subprocess.Popen(
        [part.replace("PORT", str(port)) for part in command],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address, until = f"http://127.0.0.1:{port}", time.monotonic() + 3 * PATIENCE / 1000
    try:
        while True:
            try:
                urllib.request.urlopen(address + "/api", timeout=5).read()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("Jupyter did not start") from None
                time.sleep(0.3)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
