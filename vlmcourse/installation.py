"""Set the course up in the clone's folder .venv: `python3 -m vlmcourse setup`. Needs Python alone."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST = (3, 11)
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"


class SetupFailed(RuntimeError):
    """The environment can't be made; the message says why and what to do."""


def environment_python(root=ROOT):
    """The interpreter of the clone's environment, whether it exists or not."""
    return root / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def fingerprint(root=ROOT):
    """A hash of what decides the content of the environment."""
    digest = hashlib.sha256()
    for name in ("requirements.lock", "pyproject.toml", "grader/pyproject.toml"):
        if (root / name).exists():
            digest.update((root / name).read_bytes())
    return digest.hexdigest()


def is_set_up(root=ROOT):
    """True if the environment is there and was made from the present lock and pyproject.toml."""
    marker = root / ".venv" / ".installed"
    return (
        environment_python(root).exists()
        and marker.exists()
        and marker.read_text(encoding="utf-8") == fingerprint(root)
    )


def obstacle(version=None, modules=("venv", "ensurepip"), find=None):
    """Why this Python can't set the course up, in a sentence with the remedy; None if it can."""
    version = version or sys.version_info[:2]
    if version < OLDEST:
        return "Python {}.{} is too old: Python 3.11 or newer is needed. {}".format(
            version[0], version[1], "Run this with another one: python3.12 -m vlmcourse setup"
        )
    find = find or _is_importable
    if not all(find(name) for name in modules):
        return "This Python has no venv. Debian, Ubuntu: sudo apt install python3-venv"
    return None


def _is_importable(name):
    import importlib.util

    return importlib.util.find_spec(name) is not None


def has_nvidia_driver():
    """True where an NVIDIA GPU could be used."""
    return shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia/version").exists()


def torch_index(system=None, driver=None):
    """The package index that torch is taken from first; None for PyPI's.

    PyPI's torch for Linux brings 4 GB of NVIDIA's libraries along, which a machine without their driver can't use.
    Its wheels for macOS and Windows bring none. VLMCOURSE_TORCH_INDEX names another index; empty: PyPI.
    """
    chosen = os.environ.get("VLMCOURSE_TORCH_INDEX")
    if chosen is not None:
        return chosen or None
    driver = has_nvidia_driver() if driver is None else driver
    return CPU_WHEELS if (system or platform.system()) == "Linux" and not driver else None


def locked(package, root=ROOT):
    """The line of requirements.lock for a package, as pip reads it."""
    for line in (root / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if line.partition("==")[0] == package:
            return line
    raise SetupFailed(f"requirements.lock has no line for {package}")


def setup(root=ROOT):
    """Make .venv, install the lock and the course into it. Does nothing if that is done already.

    Raises SetupFailed with what is missing, or with the step that failed.
    """
    if is_set_up(root):
        return environment_python(root)
    if not (root / "requirements.lock").exists():
        raise SetupFailed(f"no requirements.lock in {root}: set-up runs in a clone of the course.")
    reason = obstacle()
    if reason:
        raise SetupFailed(reason)
    python = str(environment_python(root))
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not environment_python(root).exists():
        print(f"Making {root / '.venv'} with Python {platform.python_version()}", flush=True)
        _run([sys.executable, "-m", "venv", str(root / ".venv")])
    index = torch_index()
    if index:
        print(f"No NVIDIA driver here: the CPU build of torch, from {index}", flush=True)
        quick = ["--no-deps", "--retries", "1", "--timeout", "30", "--index-url", index]
        if subprocess.run([*pip, *quick, locked("torch")]).returncode:
            print("It can't be had there; PyPI's build is taken instead (4 GB more).", flush=True)
    print("Installing requirements.lock (some minutes the first time)", flush=True)
    _run([*pip, "-r", str(root / "requirements.lock")])
    _run([*pip, "--no-deps", "--editable", str(root)])
    (root / ".venv" / ".installed").write_text(fingerprint(root), encoding="utf-8")
    return environment_python(root)


def _run(command):
    if subprocess.run(command).returncode:
        raise SetupFailed(f"this failed; see the lines above for its reason: {' '.join(command)}")


def start(arguments, root=ROOT):
    """Run `vlmcourse ARGUMENTS` in the clone's environment, set up first if needed. Returns the exit status.

    This is what `python3 -m vlmcourse` does with a Python that hasn't the course's packages.
    """
    try:
        python = setup(root)
        if arguments[:1] == ["setup"]:
            print(f"Set up in {root / '.venv'}. Start with: python3 -m vlmcourse lab", flush=True)
            return 0
        return subprocess.run([str(python), "-m", "vlmcourse", *arguments]).returncode
    except SetupFailed as error:
        print(f"vlmcourse: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
