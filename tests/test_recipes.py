"""The recipes and `vlmcourse train clip`: bad input, damage, kill -9, and what two processes do."""

import hashlib
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

import vlmcourse
from vlmcourse import recipes, world
from vlmcourse.training import checkpoint, stages
from vlmcourse.training.scale import Scale
from vlmcourse.world.curriculum import Curriculum

QUIET = [
    sys.executable,
    "-m",
    "vlmcourse",
    "train",
    "clip",
    "--scale",
    "smoke",
    "--precision",
    "float32",
]


def command(*arguments, **options):
    return subprocess.run(
        [*QUIET, *map(str, arguments)], capture_output=True, text=True, timeout=600, **options
    )


def make_folder(folder, count=60):
    """A folder of our own pictures, with metadata."""
    folder.mkdir()
    pairs = world.Pairs("train", 48)
    lines = []
    for index, image in enumerate(pairs.images(range(count))):
        Image.fromarray(image).save(folder / f"{index}.png")
        lines.append(json.dumps({"file_name": f"{index}.png", "text": pairs.text(index)}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def train(out, **options):
    return recipes.train(
        "clip", out, "smoke", precision=torch.float32, log=lambda text: None, **options
    )


def model_weights(out):
    tensors, notes = checkpoint.load(out / "clip.safetensors")
    return torch.cat(
        [
            value.flatten().float()
            for name, value in sorted(tensors.items())
            if name.startswith("model.")
        ]
    ), notes


def test_a_report_has_scores_beside_their_controls(tmp_path):
    report = train(tmp_path, steps=3)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert report["held-out pairs"] == 16 and report["image to text R@1, chance"] == 1 / 16  # smoke
    assert report["image to text R@1, blind"] <= 2 / 16
    assert {"text to image R@10", "zero-shot nouns", "zero-shot nouns, shuffled"} <= set(report)


def test_evaluation_pictures_are_held_out():
    pairs = world.Pairs("test", 32)
    assert all(
        world.split_of(scene.words, scene.background) == "test"
        for scene in pairs.scenes(pairs.distinct(256))
    )
    _, _, labels = recipes.clip.single_things(32, 50)
    assert len({world.known_nouns()[label] for label in labels}) > 20


def test_the_language_model_is_a_stage_and_an_untrained_one_knows_nothing():
    first, again = (
        recipes.get("language").train_or_load("smoke", steps=3),
        recipes.get("language").train_or_load("smoke", steps=3),
    )
    assert not first.loaded and again.loaded
    report = recipes.language.language_report(first.model, 64)
    assert abs(report["binding"] - 0.5) < 0.25 and report["facts"] < 0.3
    assert report["facts, chance"] == pytest.approx(0.06, abs=0.03)


def test_the_shipped_language_model_has_read_these_texts():
    """A change of captions or facts that reaches its texts needs another model: vlmcourse train language --ship."""
    parts = Curriculum(0, 0).parts
    read = torch.cat([part.batch(range(64))["ids"] for part in parts])
    assert hashlib.sha256(read.numpy().tobytes()).hexdigest()[:16] == "2b3b49cb94e7d052"


@pytest.mark.slow
def test_the_shipped_language_model_binds_and_knows():

    trained = recipes.get("language").train_or_load("laptop")
    assert (
        trained.loaded
        and trained.path.parent == stages.SHIPPED
        and trained.path.stat().st_size < 8e6
    )
    assert (
        len(trained.history) == recipes.get("language").sizes["laptop"].steps
        and trained.history[-1].loss < trained.history[0].loss
    )
    report = recipes.language.language_report(trained.model, 256)
    assert report["binding"] >= 0.95 and report["facts"] >= 0.95


def test_the_shipped_language_model_binds_and_knows_in_pages_with_tags():
    """Before any picture: what it can't do in words, no picture can do."""
    report = recipes.language.word_report(recipes.get("language").train_or_load("laptop").model, 64)
    for slots in ("tags", "tags and stops"):
        names = [report[f"names, {shots} shots, {slots}"] for shots in (1, 2, 4, 8, 16)]
        known = [
            report[f"{kind}, {shots} shots, {slots}"]
            for kind in ("category", "place", "purpose")
            for shots in (0, 4)
        ]
        assert min(names) >= 0.95 and min(known) >= 0.9
    assert min(report["relation"], report["relation, turned"]) >= 0.85
    assert report["facts"] >= 0.95


def test_a_run_is_not_overwritten_and_another_not_continued(tmp_path):
    train(tmp_path, steps=2)
    with pytest.raises(ValueError, match="already holds a run. Go on with it: --resume"):
        train(tmp_path, steps=2)
    with pytest.raises(ValueError, match="holds another run"):
        train(tmp_path, steps=2, seed=1, resume=True)
    with pytest.raises(ValueError, match="0 steps; expected at least 1"):
        train(tmp_path / "other", steps=0)


def test_a_truncated_checkpoint_is_said_and_trained_anew(tmp_path):
    train(tmp_path, steps=2)
    good, _ = model_weights(tmp_path)
    path = tmp_path / "clip.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    said = []
    recipes.train(
        "clip", tmp_path, "smoke", steps=2, resume=True, precision=torch.float32, log=said.append
    )
    assert "damaged" in said[0] and (tmp_path / "clip.damaged").exists()
    assert torch.equal(model_weights(tmp_path)[0], good)


@pytest.mark.slow
def test_killed_and_resumed_is_as_if_unbroken(tmp_path):
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [*QUIET, "--steps", "200", "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not (out / "clip.safetensors").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < model_weights(out)[1]["step"] < 200 and not (out / "report.json").exists()
    finished = command("--steps", 200, "--out", out, "--resume")
    assert finished.returncode == 0, finished.stderr
    assert command("--steps", 200, "--out", tmp_path / "whole").returncode == 0
    (resumed, notes), (whole, _) = model_weights(out), model_weights(tmp_path / "whole")
    assert notes["step"] == 200 and torch.equal(resumed, whole)
    assert json.loads((out / "report.json").read_text()) == json.loads(
        (tmp_path / "whole" / "report.json").read_text()
    )


def test_what_is_trained_on_your_pictures_can_be_loaded_and_searched_with(tmp_path):
    folder = make_folder(tmp_path / "mine")
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    for line in lines:
        line["text"] = [line["text"], line["text"].upper(), f"<PERSON> sees {line['text']}"]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    out = tmp_path / "out"
    report = train(out, data=folder, steps=3)
    assert report["held-out pairs"] == 3 * report["held-out pictures"]
    saved = vlmcourse.load(out)
    tensors, _ = checkpoint.load(out / "clip.safetensors")
    weights = saved.model.state_dict()
    assert all(torch.equal(tensors[f"model.{name}"], value) for name, value in weights.items())
    texts = [lines[0]["text"][0], lines[0]["text"][1]]
    torch.testing.assert_close(*saved.embed_texts(texts))  # upper case is the same to the model
    (folder / "broken.png").write_bytes(b"no picture")
    nearest, faults = saved.search(texts[0], folder, 4)
    paths = sorted(folder.glob("[0-9]*.png"))
    cosines = saved.embed_pictures(paths) @ saved.embed_texts(texts[:1]).T
    assert [path for path, _ in nearest] == [paths[i] for i in cosines[:, 0].topk(4).indices]
    assert len(faults) == 1 and "broken.png: not a picture" in faults[0]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "vlmcourse",
            "search",
            texts[0],
            folder,
            "--model",
            out,
            "--count",
            "2",
        ],
        capture_output=True,
        text=True,
    )
    assert done.stdout.split()[1::2] == [str(path) for path, _ in nearest[:2]], done.stderr
    with pytest.raises(ValueError, match="unknown word 'zebras'"):
        saved.search("zebras", folder)
    with pytest.raises(FileNotFoundError, match="no pictures"):
        saved.search(texts[0], out)
    (out / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="isn't finished: go on with --resume"):
        vlmcourse.load(out)


def test_a_run_goes_on_with_the_same_pictures_only(tmp_path):
    folder = make_folder(tmp_path / "mine")
    train(tmp_path / "out", data=folder, steps=2)
    folder = folder.rename(tmp_path / "moved")
    train(tmp_path / "out", data=folder, steps=2, resume=True)  # a place is not the data
    metadata = folder / "metadata.jsonl"
    word = json.loads(metadata.read_text().splitlines()[0])["text"].split()[-1]
    metadata.write_text(metadata.read_text().replace(word, "ant"))
    with pytest.raises(ValueError, match="holds another run.*data"):
        train(tmp_path / "out", data=folder, steps=2, resume=True)


def test_the_batch_is_an_option(tmp_path):
    folder = make_folder(tmp_path / "mine", 12)
    train(tmp_path / "out", data=folder, steps=1, batch=5)
    assert model_weights(tmp_path / "out")[1]["fingerprint"]["batch"] == 5
    with pytest.raises(ValueError, match="a batch of 1; expected at least 2"):
        train(tmp_path / "other", data=folder, steps=1, batch=1)


@pytest.mark.slow
def test_your_own_pictures_train_and_broken_ones_are_named(tmp_path):
    folder = make_folder(tmp_path / "mine")
    (folder / "3.png").write_bytes(b"not a picture")
    (folder / "4.png").unlink()
    Image.new("L", (9, 300), 100).save(folder / "5.png")
    Image.new("RGBA", (1, 1)).save(folder / "6.png")
    done = command("--data", folder, "--steps", 2, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert all(
        said in done.stdout
        for said in ("2 of 60 pictures", "3.png: not a picture", "4.png: there is no such file")
    )
    assert "UserWarning" not in done.stderr and "held-out pairs" in done.stdout


def test_a_data_set_saved_on_disk_trains_too(tmp_path):
    import datasets

    pairs = world.Pairs("train", 40)
    saved = datasets.Dataset.from_dict(
        {
            "image": [Image.fromarray(image) for image in pairs.images(range(40))],
            "text": [pairs.text(index) for index in range(40)],
        }
    )
    saved.save_to_disk(tmp_path / "set")
    assert train(tmp_path / "out", data=tmp_path / "set", steps=2)["held-out pairs"] >= 2


def empty(folder):
    folder.mkdir()


def one_picture(folder):
    make_folder(folder, 1)


def no_caption(folder):
    make_folder(folder, 5)
    (folder / "metadata.jsonl").write_text('{"file_name": "0.png"}\n')


def not_json(folder):
    make_folder(folder, 5)
    (folder / "metadata.jsonl").write_text("0.png, a cat\n")


def all_missing(folder):
    folder.mkdir()
    (folder / "metadata.csv").write_text("file_name,text\nnothing.png,a cat\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    "make, message",
    [
        (lambda folder: None, "no folder"),
        (empty, "has no metadata.jsonl or metadata.csv: it is empty"),
        (one_picture, "Expected at least 3"),
        (no_caption, "line 1: found file_name; expected the columns file_name and text"),
        (not_json, "line 1 is not JSON"),
        (all_missing, "none of the 1 pictures"),
    ],
    ids=["no folder", "empty", "a batch of one", "no caption", "not JSON", "all missing"],
)
def test_bad_folders_get_one_message_and_no_traceback(tmp_path, make, message):
    make(tmp_path / "mine")
    done = command("--data", tmp_path / "mine", "--out", tmp_path / "out")
    last = done.stderr.strip().splitlines()
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert (
        last[-1].startswith("vlmcourse: ") and not (tmp_path / "out" / "clip.safetensors").exists()
    )


@pytest.mark.parametrize(
    "pixel_values, message",
    [
        (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "pixels are uint8"),
        (torch.zeros(2, 1, 32, 32), r"shape \(2, 1, 32, 32\)"),
        (torch.zeros(2, 4, 32, 32), r"shape \(2, 4, 32, 32\)"),
        (torch.zeros(2, 3, 64, 64), r"\(2, 3, 64, 64\)"),
        (torch.zeros(3, 32, 32), "shape"),
        (torch.full((2, 3, 32, 32), 255.0), "reach 255"),
        (torch.full((2, 3, 32, 32), np.nan), "broken"),
    ],
)
def test_wrong_pixels_are_explained(pixel_values, message):
    with pytest.raises(ValueError, match=message):
        recipes.clip.new_clip(recipes.clip.clip_config(Scale.of("smoke"))).encode_image(
            pixel_values
        )


TWO = """
import json, sys
import torch
from vlmcourse import recipes
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.scale import Scale
size = Scale.of("smoke")
model = recipes.clip.new_clip(recipes.clip.clip_config(size))
batches = Batches(recipes.clip.training_pairs(size).batch, 32)
steps = [[step.loss, step.gradient_norm] for step in fit(model, batches, 4, precision=torch.float32)]
from accelerate import PartialState
state = PartialState()
if state.is_main_process:
    print("FOUND", json.dumps([state.num_processes, steps]))
"""


def found(output: str):
    return json.loads(next(line for line in output.splitlines() if line.startswith("FOUND"))[5:])


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]


@pytest.mark.slow
def test_two_processes_have_the_loss_and_gradient_of_one(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO)
    outputs = [
        subprocess.run([*start, str(script)], capture_output=True, text=True, timeout=600)
        for start in ([sys.executable], TORCHRUN)
    ]
    assert all(output.returncode == 0 for output in outputs), outputs[1].stderr[-2000:]
    (one, alone), (two, together) = (found(output.stdout) for output in outputs)
    assert (one, two) == (1, 2)
    (loss, norm), (loss_alone, norm_alone) = together[0], alone[0]
    assert loss == pytest.approx(loss_alone, abs=1e-5) and norm == pytest.approx(
        norm_alone, rel=1e-4
    )
    # Later steps differ more: AdamW divides by the square root of small gradients, so rounding grows with each step.
    torch.testing.assert_close(torch.tensor(together), torch.tensor(alone), rtol=2e-2, atol=1e-3)


# accelerate 1.15 starts one process on a CPU, whatever --num_processes says (two need MPI); torchrun starts two with gloo.
@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_launchers_run_the_command_and_one_process_reports(tmp_path, launcher):
    done = subprocess.run(
        [*launcher, "-m", *QUIET[2:], "--steps", "3", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("held-out pairs") == 1 and (tmp_path / "report.json").exists()
