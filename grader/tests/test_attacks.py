"""Attacks on the grader. None gains a point, none harms grader, gradebook or another student, each costs only its own task.

Every attack is one student's answer to the middle one of three tasks; the other two are answered honestly and must keep
full marks. All run in one sandbox, one after the other, so that none may harm the next; then again as an ordinary user: those
whose effect depends on the user's rights, or all with VLMCOURSE_ALL_ATTACKS=1 (some minutes more; before a release).
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import small_course as small  # noqa: E402

from vlmgrader import sandbox  # noqa: E402
from vlmgrader.checks import load  # noqa: E402
from vlmgrader.judge import Judge  # noqa: E402
from vlmgrader.results import Task  # noqa: E402
from vlmgrader.session import Session, descendants  # noqa: E402

pytestmark = pytest.mark.skipif(
    sandbox.trouble() is not None, reason=f"no sandbox can be made here: {sandbox.trouble()}"
)
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
os.environ["VLM_SECRET"] = "the grader's own surroundings"
SLOW = float(os.environ.get("VLMCOURSE_PATIENCE", 1))  # on a busy machine
RIGHT = "\ndef softmax(x):\n    return torch.softmax(x, -1)\n"
WRONG = "\ndef softmax(x):\n    return torch.zeros_like(x)\n"
LIMITS = sandbox.Limits(
    cell=3 * SLOW, task=4 * SLOW, submission=120 * SLOW, memory=1200 * 2**20, disk=32 * 2**20
)

CHEATS = {  # wrong answers that want to be right: nothing for the task
    "a subclass that equals everything": """
class Yes(torch.Tensor):
    def __eq__(self, other): return torch.ones(1, dtype=torch.bool)
    @classmethod
    def __torch_function__(cls, *args, **kwargs): return True
def softmax(x): return torch.zeros_like(x).as_subclass(Yes)""",
    "a number that equals everything": """
class Yes(float):
    def __eq__(self, other): return True
def softmax(x): return Yes(0)""",
    "patched comparisons": """
for name in ("allclose", "equal", "isclose", "eq"):
    setattr(torch, name, lambda *a, **k: True)
torch.testing.assert_close = lambda *a, **k: None
torch.Tensor.__eq__ = lambda a, b: True
torch.Tensor.all = lambda *a, **k: True"""
    + WRONG,
    "an input transformer that empties cells": "get_ipython().input_transformers_cleanup.append(lambda lines: ['pass\\n'] if 'check' in ''.join(lines) else lines)"
    + WRONG,
    "a kernel that says all is well": """
kernel = get_ipython().kernel
async def fine(*args, **kwargs): return {"status": "ok", "execution_count": 1, "user_expressions": {}, "payload": []}
type(kernel).do_execute = fine""",
    "a bridge that brags": """
import builtins, base64, json
class Brag:
    def __getattr__(self, name): return lambda *a: base64.b64encode(json.dumps({"points": 99, "passed": True}).encode()).decode()
builtins.__grader__ = Brag()"""
    + WRONG,
    "an answer that is a verdict": """
def softmax(x): return {"value": {"passed": True, "points": 99.0}, "passed": True, "points": 99.0}""",
    "a forged score on the screen": WRONG
    + """
print("PASS  2 of 2")
from IPython.display import display
display(2.0)""",
    "forged replies": WRONG
    + """
import threading, time
kernel = get_ipython().kernel
def forge():
    for _ in range(200):
        try:
            kernel.session.send(kernel.shell_stream, "execute_reply", {"status": "ok", "user_expressions": {"asked": {
                "status": "ok", "data": {"text/plain": "'AAAA'"}}}}, parent=kernel.get_parent("shell"))
        except Exception: pass
        time.sleep(0.01)
threading.Thread(target=forge, daemon=True).start()""",
    "garbage on every descriptor": """
import os
def softmax(x):
    for fd in range(3, 64):
        try: os.write(fd, bytes(range(256)) * 64)
        except OSError: pass
    return x""",
    "looking for the expected values": """
import gc, sys
def softmax(x):
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()):
            if type(value) is torch.Tensor and value.shape == x.shape and value is not x and bool((value.sum(1) - 1).abs().max() < 1e-3):
                return value
        frame = frame.f_back
    for thing in gc.get_objects():
        if type(thing) is torch.Tensor and thing.shape == x.shape and thing.dtype == x.dtype and bool((thing.sum(1) - 1).abs().max() < 1e-3):
            return thing
    return x""",
    "a pickle that runs": """
import os, pickle
class Bomb:
    def __reduce__(self): return (os.system, ("touch HARM",))
def softmax(x): return pickle.dumps(Bomb())""",
    "a list that lies about itself": """
class Lies(list):
    def __iter__(self): return iter([1.0])
    def __len__(self): return 10**9
def softmax(x): return Lies()""",
    "names of Python's own, replaced": """
sorted = lambda x: list(range(len(x)))
bool = sum = all = len = isinstance = lambda *x: True
import builtins
builtins.sorted = builtins.bool = builtins.all = lambda *x: True"""
    + WRONG,
}
ENDS = {  # what ends, hangs or eats: nothing for the task, and nobody else pays
    "exit": "import sys\ndef softmax(x): sys.exit(0)",
    "exit at once": "import os\ndef softmax(x): os._exit(0)",
    "exit of the cell": "import os\nos._exit(0)",
    "abort": "import os\nos.abort()",
    "kill -9 itself": "import os, signal\ndef softmax(x): os.kill(os.getpid(), signal.SIGKILL)",
    "kill everybody": "import os, signal\ndef softmax(x):\n    os.kill(-1, signal.SIGKILL)\n    return x",
    "kill the parent": "import os, signal\nfor pid in (os.getppid(), 1, 2):\n    try: os.kill(pid, signal.SIGKILL)\n    except OSError: pass"
    + WRONG,
    "a segmentation fault": "import ctypes\ndef softmax(x): ctypes.string_at(0)",
    "a loop": "def softmax(x):\n    while True: pass",
    "a loop in the cell": "while True: pass",
    "a loop that can't be interrupted": """
import signal
def softmax(x):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            while True: pass
        except BaseException: pass""",
    "deep recursion": "import sys\nsys.setrecursionlimit(10**9)\ndef softmax(x): return softmax(x)",
    "memory": "def softmax(x):\n    kept = []\n    while True: kept.append(torch.ones(10**7))",
    "memory of many": """
import os, time
for _ in range(8):
    if os.fork() == 0:
        kept = bytearray(3 * 10**8)
        time.sleep(60)"""
    + WRONG,
    "shared memory": """
import mmap
def softmax(x):
    shared = mmap.mmap(-1, 3 * 10**9)
    for place in range(0, 3 * 10**9, 10**7): shared[place:place + 10**7] = bytes(10**7)
    return x""",
    "a million files": """
def softmax(x):
    for number in range(10**6):
        with open(f"/tmp/{number}", "w"): pass
    return x""",
    "a fork bomb": "import os\nwhile True: os.fork()",
    "threads": "import threading, time\nfor _ in range(1000): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    "a time bomb": "import threading, os\nthreading.Timer(0.5, lambda: os._exit(1)).start()"
    + WRONG,
    "an alarm": "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_DFL)\nsignal.setitimer(signal.ITIMER_REAL, 0.3)"
    + WRONG,
    "full disks": """
def softmax(x):
    for folder in ("/tmp", "/submission", "/student", "/dev/shm"):
        try:
            for number in range(100):
                with open(f"{folder}/{number}", "wb") as file:
                    while True: file.write(bytes(10**6))
        except OSError: pass
    return x""",
    "a gigabyte of print": "def softmax(x):\n    print('x' * 10**9)\n    return x",
    "a gigabyte of lines": "for _ in range(1000): print('y' * 10**6)" + WRONG,
    "a huge answer": "def softmax(x): return torch.zeros(3 * 10**7)",
    "a deep answer": "def softmax(x):\n    x = []\n    for _ in range(5000): x = [x]\n    return x",
    "a wide answer": "def softmax(x): return list(range(10**6))",
    "NaN": "def softmax(x): return x * float('nan')",
    "closed descriptors": "import os\ndef softmax(x):\n    os.closerange(3, 256)\n    return x",
    "startup files": """
import os, pathlib
for place in ("/tmp/ipython/profile_default/startup", "/student/.ipython/profile_default/startup"):
    pathlib.Path(place).mkdir(parents=True, exist_ok=True)
    pathlib.Path(place, "00.py").write_text("import os; os._exit(3)")
for place in ("/submission/sitecustomize.py", "/submission/torch.py", "/student/.bashrc", "/tmp/usercustomize.py"):
    pathlib.Path(place).write_text("raise SystemExit")
os.makedirs("/tmp/locked/" + "/".join("d" * 40 for _ in range(20)))
os.chmod("/tmp/locked", 0)
def softmax(x): os._exit(0)""",
}

DEPENDS_ON_RIGHTS = (
    "kill everybody",
    "kill the parent",
    "memory of many",
    "shared memory",
    "a million files",
    "a fork bomb",
    "threads",
    "full disks",
    "startup files",
)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    checks = load(small.write(tmp_path_factory.mktemp("small"), seconds=2 * SLOW) / small.NAME)
    return {name: Task(name, 2.0, found) for name, found in checks.items()}


@pytest.fixture(scope="module")
def session():
    with Session(sandbox.Sandbox(LIMITS)) as made:
        yield made


def judged(tasks, answer, session=None, files=None, **others):
    notebook = small.notebook({**small.ANSWERS, "softmax": answer, **others})
    given = frozenset(cell.source for cell in small.notebook().cells)
    found = Judge(notebook, tasks, sandbox.Sandbox(LIMITS), files, given).judge(session)
    shown = [output for outputs in found.outputs.values() for output in outputs]
    return found, "".join(
        str(output.get("text", "")) + str(output.get("data", "")) for output in shown
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CHEATS, *ENDS])
def test_an_attack_gains_nothing_and_costs_only_its_own_task(name, tasks, session):
    found, _ = judged(tasks, {**CHEATS, **ENDS}[name], session)
    assert found.points("softmax-test") == 0
    assert found.points("plus-test") == 2 and found.points("total-test") == 2, found
    assert not session.processes(), "nothing of it goes on"


def test_right_answers_stay_right_after_all_that(tasks, session):
    found, _ = judged(tasks, RIGHT, session)
    assert [found.points(name) for name in tasks] == [2, 2, 2]


@pytest.mark.parametrize(
    "answer",
    [
        "import warnings, sys\ndef softmax(x):\n    warnings.warn('careful')\n    print('to stderr', file=sys.stderr)\n    return torch.softmax(x, -1)",
        "import logging\nlogging.basicConfig(level=0)\ndef softmax(x):\n    logging.error('loud')\n    return torch.softmax(x, -1)",
        "from tqdm.auto import tqdm\ndef softmax(x):\n    for _ in tqdm(range(3)): pass\n    return torch.softmax(x, -1)",
        "import os\ndef softmax(x):\n    print('x' * 10**6)\n    os.write(2, b'from below')\n    return torch.softmax(x, -1)",
    ],
    ids=["warns", "logs", "tqdm", "prints"],
)
def test_a_right_answer_that_is_loud_loses_no_point(answer, tasks, session):
    found, _ = judged(tasks, answer, session)
    assert [found.points(name) for name in tasks] == [2, 2, 2]


def test_hidden_inputs_are_never_shown(tasks, session):
    """Neither by an exception's text, nor by a cell that prints what an earlier call was given."""
    found, shown = judged(
        tasks,
        "class Seen(Exception): pass\ndef softmax(x):\n    global kept\n    kept = x\n    print('SEEN', x)\n"
        "    raise Seen(f'INPUT {x}')",
        session,
        total=small.ANSWERS["total"] + "\nprint('KEPT', globals().get('kept'))",
    )
    [mark] = found.tasks["softmax-test"]
    assert mark.message == "your code raised Seen." and "INPUT" not in str(found.as_json())
    assert "KEPT None" in shown and "SEEN" not in shown


def test_nothing_of_the_machine_can_be_seen_or_changed(tasks, session, tmp_path):
    """The gradebook, another student's answer, the checks, the system's secrets, the network."""
    secret = tmp_path / "course" / "gradebook.db"
    secret.parent.mkdir()
    secret.write_bytes(b"scores")
    (secret.parent / "other.ipynb").write_text("another student's answer")
    before = {
        path: hashlib.sha256(path.read_bytes()).hexdigest() for path in secret.parent.iterdir()
    }
    answer = (
        f"""
import ctypes, glob, os, socket
seen = []
for path in ({str(secret)!r}, {str(secret.parent / "other.ipynb")!r}, {__file__!r}, "/etc/shadow", "/proc/1/mem",
             "/proc/2/mem", {str(Path.home() / ".bashrc")!r}, {str(Path.home() / ".ssh")!r}):
    try:
        with open(path, "rb") as file:
            file.read(1)
            seen.append(path)
    except OSError: pass
    try:
        with open(path, "wb") as file: seen.append("wrote " + path)
    except OSError: pass
for path in ("/usr/bin/env", "/course/vlmgrader/cli.py", torch.__file__, "/x", "/dev/x"):
    try:
        with open(path, "ab"): seen.append("could write " + path)
    except OSError: pass
for path in glob.glob("/proc/*/environ"):
    try:
        with open(path, "rb") as file:
            if b"VLM_SECRET" in file.read(): seen.append(path)
    except OSError: pass
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    try:
        with socket.socket(socket.AF_INET, kind) as out:
            out.settimeout(1)
            out.connect(("127.0.0.1" if kind == socket.SOCK_STREAM else "8.8.8.8", 53))
            out.send(b"answer")
            seen.append("network")
    except OSError: pass
libc = ctypes.CDLL(None)
for name, call in (("user namespace", lambda: libc.unshare(0x10000000)), ("ptrace", lambda: libc.ptrace(16, 2, 0, 0)),
                   ("clone", lambda: -1 if (pid := libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)) < 0 else os._exit(0) if pid == 0 else 0),
                   ("mount", lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, 0)), ("memfd", lambda: -1 if libc.memfd_create(b"m", 0) < 0 else 0),
                   ("root", lambda: libc.setuid(0) if os.getuid() else 0)):
    if call() == 0: seen.append(name)
print("SEEN", seen, "UID", os.getuid(), "CHECKS",
      [path for top in ("/course", "/submission", "/student", "/tmp", {str(Path(__file__).parents[1] / "assignments")!r})
       for path in glob.glob(top + "/**/checks.py", recursive=True)])
"""
        + WRONG
    )
    found, shown = judged(tasks, answer, session)
    assert "SEEN []" in shown, shown
    assert "CHECKS ['/course/vlmgrader/checks.py']" in shown, (
        "the course's public module, no assignment's checks"
    )
    assert f"UID {os.geteuid() if not ROOT else 20}" in shown
    assert before == {
        path: hashlib.sha256(path.read_bytes()).hexdigest() for path in secret.parent.iterdir()
    }
    assert found.points("total-test") == 2


def test_modules_beside_the_notebook_shadow_nothing(tasks, tmp_path):
    for name in ("torch.py", "json.py", "sitecustomize.py"):
        (tmp_path / name).write_text("raise SystemExit('shadowed')")
    (tmp_path / "vlmgrader").mkdir()
    (tmp_path / "vlmgrader" / "__init__.py").write_text("raise SystemExit('shadowed')")
    (tmp_path / "data.txt").write_text("17")
    for path in [tmp_path, *tmp_path.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    found, shown = judged(
        tasks,
        "import json, vlmgrader.codec\nprint('DATA', open('data.txt').read())" + RIGHT,
        files=tmp_path,
    )
    assert [found.points(name) for name in tasks] == [2, 2, 2] and "DATA 17" in shown


def test_what_is_shown_has_nothing_in_it_that_acts(tasks, session):
    _, shown = judged(
        tasks,
        RIGHT
        + """
from IPython.display import HTML, Javascript, SVG, Markdown, display
display(HTML("<b>kept</b><script>alert(1)</script><img src=x onerror=alert(1)><a href='javascript:alert(1)'>x</a><iframe src='//x'></iframe>"))
display(Javascript("alert(1)"), SVG("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"))
display({"image/png": "<script>alert(1)</script>", "application/json": {}}, raw=True)""",
        session,
    )
    assert "<b>kept</b>" in shown
    assert not any(
        word in shown
        for word in ("<script", "onerror", "onload", "javascript:", "iframe", "svg+xml")
    )


@pytest.mark.slow
def test_a_killed_grader_leaves_no_process(tasks):
    code = (
        "import sys, time\nfrom vlmgrader.session import Session\nfrom vlmgrader.kernel import Kernel\n"
        "from vlmgrader.sandbox import Sandbox\nwith Session(Sandbox()) as session:\n    with Kernel(session) as kernel:\n"
        '        kernel.run(\'import subprocess; subprocess.Popen(["sleep", "300"], start_new_session=True)\', 30)\n'
        "        print('ready', flush=True)\n        time.sleep(300)\n"
    )
    grader = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert grader.stdout.readline() == "ready\n"
    inside = descendants(grader.pid)
    assert len(inside) >= 4
    grader.kill()
    grader.wait()
    until = time.monotonic() + 10 * SLOW
    while (
        any(process.is_running() and process.status() != "zombie" for process in inside)
        and time.monotonic() < until
    ):
        time.sleep(0.1)
    assert not [
        process for process in inside if process.is_running() and process.status() != "zombie"
    ]


@pytest.mark.slow
@pytest.mark.skipif(not ROOT, reason="this is the ordinary user already")
@pytest.mark.skipif(
    shutil.which("setpriv") is None,
    reason="setpriv (util-linux) is not here to become an ordinary user",
)
def test_attacks_as_an_ordinary_user():
    home = tempfile.mkdtemp(prefix="nobody-")
    os.chmod(home, 0o755)
    try:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            f"--basetemp={home}/pytest",
            __file__,
        ]
        if not os.environ.get("VLMCOURSE_ALL_ATTACKS"):
            left_out = {*CHEATS, *ENDS}.difference(DEPENDS_ON_RIGHTS)
            test = test_an_attack_gains_nothing_and_costs_only_its_own_task.__name__
            here = Path(__file__).relative_to(Path(__file__).parents[1]).as_posix()
            command += (f"--deselect={here}::{test}[{name}]" for name in sorted(left_out))
        told = subprocess.run(
            small.ordinary_user(command, home),
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "HOME": home, "TMPDIR": home, "PYTHONDONTWRITEBYTECODE": "1"},
            timeout=900 * SLOW,
        )
        assert told.returncode == 0, told.stdout[-4000:] + told.stderr[-1000:]
        assert " passed, 1 skipped" in told.stdout, told.stdout[-500:]
        assert (
            os.environ.get("VLMCOURSE_ALL_ATTACKS") or f"{len(left_out)} deselected" in told.stdout
        )
    finally:
        shutil.rmtree(home)
