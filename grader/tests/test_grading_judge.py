"""What crosses between the grader and a student's kernel, and how a notebook is judged over it."""

import json
import struct
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

sys.path.insert(0, str(Path(__file__).parent))
import small_course as small  # noqa: E402

from vlmgrader import codec, sandbox  # noqa: E402
from vlmgrader.cells import grade_id, reaches, sections  # noqa: E402
from vlmgrader.outputs import TEXT, Outputs  # noqa: E402

VALUES = [
    None,
    True,
    3,
    -2.5,
    "text",
    [1, [2.0, None]],
    (1, "a"),
    {"a": [torch.arange(3)], "b": {}},
    [],
    torch.zeros(0, 2),
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_plain_values_come_back_as_they_were(value):
    back = codec.decode(codec.encode(value))
    assert type(back) is type(value) and str(back) == str(value)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool]
)
def test_tensors_come_back_equal_in_every_dtype(dtype):
    value = torch.randn(3, 4).mul(2).to(dtype).T  # not contiguous
    back = codec.decode(codec.encode(value))
    assert type(back) is torch.Tensor and back.dtype == dtype and torch.equal(back, value)


def test_parameters_and_numpy_become_plain():
    numpy = pytest.importorskip("numpy")
    back = codec.decode(
        codec.encode([torch.nn.Parameter(torch.ones(2)), numpy.arange(2), numpy.float32(0.5)])
    )
    assert type(back[0]) is torch.Tensor and not back[0].requires_grad
    assert torch.equal(back[1], torch.arange(2)) and back[2] == 0.5 and type(back[2]) is float


@pytest.mark.parametrize(
    "value, named",
    [
        (object(), "object"),
        (b"bytes", "bytes"),
        ({1: 2}, "dict"),
        (torch.eye(2).to_sparse(), "sparse Tensor"),
        ({1, 2}, "set"),
        (type("Mine", (torch.Tensor,), {})(), "Mine"),
        (type("Int", (int,), {})(3), "Int"),
        (type("Dict", (dict,), {})(), "Dict"),
    ],
    ids=[
        "object",
        "bytes",
        "numbered",
        "sparse",
        "set",
        "tensor subclass",
        "int subclass",
        "dict subclass",
    ],
)
def test_what_is_no_plain_value_is_named_by_its_type(value, named):
    with pytest.raises(codec.Unsendable, match=named):
        codec.encode([value])


def message(tree, header=None) -> bytes:
    return save(
        {"0": torch.ones(1)},
        metadata=header or {"tree": tree if isinstance(tree, str) else json.dumps(tree)},
    )


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x00" * 7,
        b"\xff" * 64,
        struct.pack("<Q", 2**40) + b"{}",
        save({}),
        message("no json"),
        message({"tensor": "7"}),
        message({"tensor": ["0"]}),
        message({"list": 3}),
        message({"evil": []}),
        message({"dict": [[1, 2]]}),
        message({"dict": [3]}),
        message("[" * 100_000),
        message({"a": 1, "b": 2}),
        message([1]),
        message({"list": [0] * (codec.NODES + 1)}),
        message('{"list": [' * 30 + "0" + "]}" * 30),
    ],
    ids=range(17),
)
def test_bytes_that_are_no_message_are_refused(bad):
    with pytest.raises(codec.Unreadable):
        codec.decode(bad)


def test_a_message_has_a_largest_size(monkeypatch):
    monkeypatch.setattr(codec, "BYTES", 1000)
    with pytest.raises(codec.Unreadable, match="at most"):
        codec.decode(codec.encode(torch.zeros(1000)))


def test_outputs_are_capped_and_hold_only_what_cannot_act():
    heard = Outputs()
    for _ in range(100):
        heard.receive("stream", {"name": "stdout", "text": "x" * (TEXT // 50)})
    heard.receive(
        "display_data",
        {
            "data": {
                "application/javascript": "alert(1)",
                "image/svg+xml": "<svg/>",
                "image/png": "<b>",
            }
        },
    )
    heard.receive("display_data", {"data": ["nonsense"]})
    heard.receive("stream", {"name": 7, "text": {"no": "text"}})
    cells = heard.cells()
    assert sum(len(output.get("text", "")) for output in cells) < TEXT + 100
    assert "more was shown than is kept" in cells[-1].text and all(
        output.output_type == "stream" for output in cells
    )


@pytest.mark.parametrize(
    "source, why",
    [
        ("torch.softmax = print", "sets torch.softmax"),
        ("import sys", "imports sys"),
        ("setattr(torch, 'x', 1)", "uses setattr"),
        ("from threading import Thread", "imports threading"),
        ("%%bash\nls", "magic"),
    ],
)
def test_cells_that_reach_beyond_themselves_are_noticed(source, why):
    import nbformat

    assert reaches(nbformat.v4.new_code_cell(source)) == why


def test_honest_cells_reach_nowhere():
    import nbformat

    honest = "import torch\nclass Net(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.x = 1\nfor i in range(3): x = i"
    assert reaches(nbformat.v4.new_code_cell(honest)) is None


def test_each_cell_belongs_to_the_next_test():
    cells = small.notebook().cells
    names = {grade_id(cell) for cell in cells} - {None}
    found = sections(cells, names)
    assert [found[index] for index, cell in enumerate(cells) if cell.cell_type == "code"] == [
        "plus-test"
    ] * 3 + ["softmax-test"] * 2 + ["total-test"] * 2


def test_without_bubblewrap_the_grader_refuses_and_says_what_to_install(monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    monkeypatch.setattr(sandbox, "find_spec", lambda name: None)
    sandbox.trouble.cache_clear()
    try:
        with pytest.raises(
            sandbox.NoSandbox, match="apt-get install bubblewrap.*--unsafe-no-sandbox"
        ):
            sandbox.Sandbox().check()
        sandbox.Sandbox(safe=False).check()
    finally:
        sandbox.trouble.cache_clear()


def test_where_user_namespaces_are_forbidden_it_says_how_to_allow_them(monkeypatch, tmp_path):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: str(fake))
    sandbox.trouble.cache_clear()
    try:
        with pytest.raises(
            sandbox.NoSandbox, match="Permission denied.*apparmor_restrict_unprivileged_userns"
        ):
            sandbox.Sandbox().check()
    finally:
        sandbox.trouble.cache_clear()


@pytest.mark.skipif(
    sandbox.trouble() is not None, reason=f"no sandbox can be made here: {sandbox.trouble()}"
)
def test_names_are_as_they_were_at_the_test_cell(tmp_path):
    """A later cell reuses a name that an earlier answer reads: the earlier answer isn't judged by it."""
    from vlmgrader.checks import load
    from vlmgrader.judge import Judge
    from vlmgrader.results import Task

    checks = load(small.write(tmp_path, 20) / small.NAME)
    tasks = {name: Task(name, 2.0, found) for name, found in checks.items()}
    answers = {
        **small.ANSWERS,
        "plus": "step = 1\ndef plus(x):\n    return x + step",
        "softmax": "step = 100\nplus = None" + "\n" + small.ANSWERS["softmax"],
        "total": "def total(x):\n    raise ValueError(x)",
    }
    found = Judge(small.notebook(answers), tasks, sandbox.Sandbox()).judge()
    assert [found.points(name) for name in tasks] == [2, 2, 0]
    assert found.tasks["total-test"][0].message == "your code raised ValueError."
