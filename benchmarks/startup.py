"""How long the command takes to answer: python -m benchmarks.startup. The aim is less than a second each."""

import subprocess
import sys
import time

COMMANDS = {
    "import vlmcourse": [sys.executable, "-c", "import vlmcourse"],
    "vlmcourse --help": [sys.executable, "-m", "vlmcourse", "--help"],
}


def seconds(command: list[str], rounds: int = 5) -> float:
    """The shortest of several runs, because a busy machine makes any single one slow."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    for name, command in COMMANDS.items():
        print(f"{name:20} {seconds(command):.2f} s")
