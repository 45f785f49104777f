"""The loop that yields: it learns, resumes to the same weights, says what is wrong; stages are cached and verified."""

import os
import signal
import subprocess
import sys
import textwrap
from itertools import islice

import pytest
import torch
from torch import nn

from vlmcourse.training import checkpoint, precision, stages
from vlmcourse.training.batches import Batches, prefetch
from vlmcourse.training.fit import fit
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.precision import device_precision
from vlmcourse.training.resume import RunLocked
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import train_or_load

W = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


class Regression(nn.Module):
    """Linear regression with dropout, so that training depends on random numbers as well as on data."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.linear, self.dropout = nn.Linear(6, 3), nn.Dropout(0.1)

    def losses(self, batch):
        return {"squared": (self.linear(self.dropout(batch["x"])) - batch["y"]).square().mean()}


def make(indices):
    x = torch.stack([torch.randn(6, generator=torch.Generator().manual_seed(i)) for i in indices])
    return {"x": x, "y": x @ W, "text": ["kept as it is"] * len(x)}


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def run(steps=40, taken=None, checkpoint_path=None, seed=0, **options):
    model = Regression()
    history = list(
        islice(
            fit(
                model,
                Batches(make, 8),
                steps,
                Optimisation(0.05),
                seed=seed,
                checkpoint_path=checkpoint_path,
                checkpoint_every=10,
                precision=torch.float32,
                **options,
            ),
            taken,
        )
    )
    return model, history


def test_it_learns_and_tells():
    _, history = run(100)
    assert history[-1].loss < 0.5 * history[0].loss
    assert [step.step for step in history] == list(range(1, 101))
    assert history[-1].seconds_left == 0 and history[9].seconds_left > 0
    rates = [step.learning_rate for step in history]
    assert rates[4] == max(rates) == pytest.approx(0.05) and rates[-1] < 0.001


def test_same_seed_same_weights_other_seed_others():
    first, again, other = (weights(run(seed=seed)[0]) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_notebooks_random_numbers_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    steps = fit(Regression(), Batches(make, 8), 3, precision=torch.float32)
    next(steps)
    torch.manual_seed(5)
    next(steps)
    assert torch.equal(torch.rand(3), expected)


def test_resumed_is_unbroken_to_the_bit(tmp_path):
    unbroken, _ = run()
    run(
        taken=25, checkpoint_path=tmp_path / "run"
    )  # stops after step 25: the last checkpoint is of step 20
    resumed, history = run(checkpoint_path=tmp_path / "run")
    assert history[0].step == 21
    assert torch.equal(weights(unbroken), weights(resumed))
    done, nothing = run(checkpoint_path=tmp_path / "run")
    assert not nothing and torch.equal(weights(done), weights(unbroken))


@pytest.mark.slow
def test_kill_minus_nine_then_resume(tmp_path):
    """A real process, really killed while it trains and writes."""
    script = textwrap.dedent(f"""
        import sys, time; sys.path.insert(0, {os.path.dirname(__file__)!r})
        from test_train import *
        for step in fit(Regression(), Batches(make, 8), 40, Optimisation(0.05), checkpoint_path=__import__("pathlib").Path(sys.argv[1]),
                        checkpoint_every=1, precision=torch.float32):
            print(step.step, flush=True); time.sleep(0.02)
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if int(line) >= 12:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    unbroken, _ = run()
    resumed, history = run(checkpoint_path=tmp_path / "run")
    assert 10 <= history[0].step <= 20
    assert torch.equal(weights(unbroken), weights(resumed))


def test_another_run_is_not_continued(tmp_path):
    run(taken=10, checkpoint_path=tmp_path / "run", fingerprint={"width": 6})
    with pytest.raises(ValueError, match="'steps': 40, 'width': 6.*'steps': 50, 'width': 7"):
        run(50, checkpoint_path=tmp_path / "run", fingerprint={"width": 7})


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-100] + bytes(100),
        lambda data: b"",
        lambda data: data[:8] + b"}" + data[9:],
    ],
    ids=["truncated", "altered", "empty", "broken header"],
)
def test_a_damaged_checkpoint_is_never_loaded(tmp_path, damage):
    path = tmp_path / "weights.safetensors"
    checkpoint.save(path, {"w": torch.randn(100)}, {"step": 3})
    tensors, notes = checkpoint.load(path)
    assert tensors["w"].shape == (100,) and notes == {"step": 3}
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(checkpoint.DamagedCheckpoint, match="weights.safetensors is damaged"):
        checkpoint.load(path)


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    checkpoint.save(path, {"w": torch.zeros(3)}, {})

    def no_space(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", no_space)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(path, {"w": torch.ones(3)}, {})
    assert torch.equal(checkpoint.load(path)[0]["w"], torch.zeros(3))


def stage(fingerprint, on_step=None, seed=0):
    return train_or_load(
        "toy",
        Regression(),
        Batches(make, 8),
        20,
        Optimisation(0.05),
        fingerprint=fingerprint,
        on_step=on_step,
        seed=seed,
    )


def test_a_stage_is_trained_once_and_found_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VLMCOURSE_CACHE", str(tmp_path))
    first, seen = stage({"width": 6}), []
    again = stage({"width": 6}, on_step=seen.append)
    assert (
        not first.loaded
        and again.loaded
        and torch.equal(weights(first.model), weights(again.model))
    )
    assert seen == first.history == again.history
    assert not again.model.training
    assert not stage({"width": 7}).loaded and not stage({"width": 6}, seed=1).loaded
    assert len(list(tmp_path.iterdir())) == 3

    first.path.write_bytes(first.path.read_bytes()[:200])
    repaired = stage({"width": 6})
    assert not repaired.loaded and torch.equal(weights(repaired.model), weights(first.model))
    assert "is damaged" in (said := capsys.readouterr().out) and "trained again" in said


def test_a_shipped_stage_serves_its_recipe_and_no_other(tmp_path, monkeypatch, capsys):
    from vlmcourse.training import stages

    monkeypatch.setattr(stages, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("VLMCOURSE_CACHE", str(tmp_path / "mine"))
    made = stage({"width": 6})
    kept = stages.ship("toy", made)
    monkeypatch.setenv("VLMCOURSE_CACHE", str(tmp_path / "another"))
    found = stage({"width": 6})
    assert found.loaded and found.path == kept and found.history == made.history
    assert torch.equal(weights(found.model), weights(made.model))
    monkeypatch.setattr(
        stages, "_code", lambda *things: "changed"
    )  # a shipped stage outlives a change of a comment
    assert stage({"width": 6}).loaded and not stage({"width": 7}).loaded
    kept.write_bytes(kept.read_bytes()[:100])
    assert (
        not stage({"width": 6}).loaded
        and "trained again" in capsys.readouterr().out
        and kept.exists()
    )


def test_a_shipped_stage_leaves_out_what_it_takes_from_another_stage(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "SHIPPED", tmp_path / "shipped")
    path = tmp_path / "whole.safetensors"
    whole = torch.nn.Sequential(torch.nn.Linear(3, 3).requires_grad_(False), torch.nn.Linear(3, 2))
    checkpoint.save(path, whole.state_dict(), {"history": []})
    kept = stages.ship("toy", stages.TrainedStage(whole, [], True, path))
    tensors, notes = checkpoint.load(kept)
    assert set(tensors) == {"1.weight", "1.bias"} and notes == {"history": []}
    again = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 2))
    again[0].load_state_dict(whole[0].state_dict())
    with pytest.raises(RuntimeError, match="Missing key.*0.weight"):
        stages._load_weights(again, tensors)
    again[0].requires_grad_(False)
    stages._load_weights(again, tensors)
    assert torch.equal(again(torch.ones(1, 3)), whole(torch.ones(1, 3)))


def test_a_shipped_stage_holds_a_shared_weight_once_and_half_precision_where_wanted(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(stages, "SHIPPED", tmp_path / "shipped")
    first, path = torch.nn.Linear(3, 3), tmp_path / "whole.safetensors"
    whole = torch.nn.Sequential(first, torch.nn.Linear(3, 3), first)
    checkpoint.save(path, whole.state_dict(), {"history": []})
    made = stages.TrainedStage(whole, [], True, path)
    tensors, _ = checkpoint.load(stages.ship("toy", made, torch.float16))
    assert set(tensors) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    shared = torch.nn.Linear(3, 3)
    again = torch.nn.Sequential(shared, torch.nn.Linear(3, 3), shared)
    stages._load_weights(again, tensors)
    assert again[2].weight is again[0].weight and again[0].weight.dtype == torch.float32
    torch.testing.assert_close(
        again(torch.ones(1, 3)), whole(torch.ones(1, 3)), rtol=1e-2, atol=1e-2
    )


def test_a_stage_depends_on_the_code_it_is_made_of_and_on_no_other(monkeypatch):
    """Reads files through a recorder: the parts and data a CLIP needs are read, the papers and lessons it doesn't are not."""
    from vlmcourse import recipes
    from vlmcourse.training import stages

    read = []
    monkeypatch.setattr(stages.Path, "read_bytes", lambda path: read.append(path.name) or b"")
    size = Scale.of("smoke")
    stages._code(
        *recipes.clip.new_clip(recipes.clip.clip_config(size)).modules(),
        recipes.clip.training_pairs(size).batch,
    )
    assert {
        "clip.py",
        "layers.py",
        "attention.py",
        "masks.py",
        "losses.py",
        "fit.py",
        "tokenizer.py",
        "scenes.py",
        "captions.py",
        "rendering.py",
        "nouns.csv",
    } <= set(read)
    assert not {
        "frozen.py",
        "generation.py",
        "recipes.py",
        "plots.py",
        "dialogues.py",
        "introspection.py",
    } & set(read)


@pytest.mark.slow
def test_a_stage_has_one_name_whatever_else_was_imported():
    name = "from vlmcourse import recipes\nfrom vlmcourse.training import stages\nprint(stages._code(recipes.flamingo.setup))"
    first, other = (
        subprocess.run(
            [sys.executable, "-c", before + name], capture_output=True, text=True, check=True
        ).stdout
        for before in (
            "",
            "from vlmcourse.world import co_occurrence, corruptions\nimport teaching.connectors\n",
        )
    )
    assert first == other and len(first.strip()) == 64


def test_a_loss_that_is_not_a_number_stops_with_its_step():
    class Diverges(Regression):
        def losses(self, batch):
            return {"squared": super().losses(batch)["squared"] / 0}

    with pytest.raises(FloatingPointError, match="at step 1.*learning rate"):
        list(fit(Diverges(), Batches(make, 8), 3, precision=torch.float32))


def test_weights_decay_but_gains_and_biases_do_not():
    groups = (
        Optimisation()
        .optimiser(nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)), torch.device("cpu"))
        .param_groups
    )
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [
        (1, 0.1),
        (3, 0.0),
    ]


def test_frozen_parameters_stay_bit_identical():
    model = Regression()
    model.linear.bias.requires_grad_(False)
    before = model.linear.bias.clone()
    list(fit(model, Batches(make, 8), 5, precision=torch.float32))
    assert torch.equal(model.linear.bias, before)


def test_batches_of_a_finite_set_visit_each_example_once_an_epoch():
    batches = Batches(list, 4, examples=12)
    first, second = ([batches[step] for step in range(start, start + 3)] for start in (0, 3))
    assert sorted(sum(first, [])) == sorted(sum(second, [])) == list(range(12)) and first != second
    halves = [list(islice(batches.from_step(1, (rank, 2)), 3)) for rank in (0, 1)]
    assert [a + b for a, b in zip(*halves)] == [batches[step] for step in (1, 2, 3)]


def test_batches_made_ahead_are_the_same_and_end():
    assert list(prefetch(iter([{"n": n} for n in range(5)]))) == [{"n": n} for n in range(5)]
    seen = []
    coming = prefetch({"n": seen.append(n) or n} for n in range(5))
    next(coming), next(coming)
    assert len(seen) >= 2

    def breaks():
        yield {"n": 0}
        raise ValueError("a broken picture")

    coming = prefetch(breaks())
    next(coming)
    with pytest.raises(ValueError, match="a broken picture"):
        next(coming)


def test_batches_larger_than_the_data_are_refused():
    with pytest.raises(ValueError, match="batch of 8 from 5 examples"):
        Batches(list, 8, examples=5)
    with pytest.raises(ValueError, match="8 cannot be shared by 3"):
        next(Batches(list, 8).from_step(0, (0, 3)))


def test_scale_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("VLMCOURSE_SCALE", "gpu")
    assert Scale.of().name == "gpu" and Scale.of("smoke").width < Scale.of("laptop").width
    with pytest.raises(ValueError, match="'huge'.*smoke, laptop, gpu"):
        Scale.of("huge")


class Clock:
    """A clock that stands still but for what each measurement is to take, or for what `pass_by` adds."""

    def __init__(self, *durations: float):
        self.durations, self.now, self.started, self.measured = list(durations), 0.0, False, 0

    def perf_counter(self) -> float:
        if self.started and self.durations:
            self.now += self.durations[self.measured]
            self.measured += 1
        self.started = not self.started
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    "bfloat16, chosen, rounds",
    [(1 / 2, torch.bfloat16, 8), (1 / 1.4, torch.float32, 8), (100, torch.float32, 2)],
    ids=["twice as fast", "hardly faster", "imitated: given up after two rounds"],
)
def test_precision_is_what_multiplies_faster(monkeypatch, bfloat16, chosen, rounds):
    monkeypatch.delenv("VLMCOURSE_PRECISION", raising=False)
    clock = Clock(*[1.0] * 8, *[bfloat16] * 8)
    monkeypatch.setattr(precision, "time", clock)
    assert device_precision.__wrapped__() == chosen  # without the memory of earlier calls
    assert clock.measured == 8 + rounds


def test_precision_is_what_the_environment_says(monkeypatch):
    measure = device_precision.__wrapped__
    for name in ("float32", "bfloat16"):
        monkeypatch.setenv("VLMCOURSE_PRECISION", name)
        assert measure() == getattr(torch, name)
    monkeypatch.setenv("VLMCOURSE_PRECISION", "half")
    with pytest.raises(ValueError, match="'half'; expected float32 or bfloat16"):
        measure()


@pytest.mark.parametrize(
    "slow, chosen", [(torch.bfloat16, torch.float32), (torch.float32, torch.bfloat16)]
)
def test_the_model_itself_decides_the_precision(monkeypatch, slow, chosen):
    monkeypatch.delenv("VLMCOURSE_PRECISION", raising=False)
    monkeypatch.setattr(precision, "device_precision", lambda device: torch.bfloat16)
    clock = Clock()
    monkeypatch.setattr(precision, "time", clock)
    w = torch.ones(4, 4, requires_grad=True)

    def step():
        clock.pass_by(2 if (w @ w).dtype == slow else 1)
        return (w @ w).sum()

    assert precision.faster_precision(step, torch.device("cpu")) == chosen
    monkeypatch.setenv("VLMCOURSE_PRECISION", "bfloat16")  # what is said isn't measured
    unmeasured = precision.faster_precision(
        lambda: pytest.fail("it was measured"), torch.device("cpu")
    )
    assert unmeasured == torch.bfloat16


def test_measuring_the_precision_leaves_the_model_as_it_was(monkeypatch):
    class Counts(Regression):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))

        def losses(self, batch):
            self.seen += 1
            return super().losses(batch)

    taken = []
    monkeypatch.setattr(
        precision,
        "faster_precision",
        lambda step, device: taken.append(step().backward()) or torch.float32,
    )
    models = Counts(), Counts()
    for model, asked in zip(models, (None, torch.float32)):
        list(fit(model, Batches(make, 8), 100, precision=asked))
    assert len(taken) == 1 and models[0].seen == 100
    assert all(
        torch.equal(a, b)
        for a, b in zip(models[0].state_dict().values(), models[1].state_dict().values())
    )
    list(fit(Counts(), Batches(make, 8), 99))
    assert len(taken) == 1, "a short run was measured"


def test_where_the_precision_is_known_no_model_is_copied_and_no_batch_made_for_it(monkeypatch):
    monkeypatch.setenv("VLMCOURSE_PRECISION", "float32")
    monkeypatch.setattr(precision, "device_precision", device_precision.__wrapped__)
    monkeypatch.setattr(precision, "deepcopy", lambda model: pytest.fail("the model was copied"))
    made = []
    list(fit(Regression(), Batches(lambda indices: made.append(indices) or make(indices), 8), 100))
    assert len(made) == 100


class Recorder(Regression):
    """Notes in which precision it computed, and how often it was told that a step is over."""

    def __init__(self):
        super().__init__()
        self.dtypes, self.after = [], []

    def losses(self, batch):
        self.dtypes.append(self.linear(batch["x"]).dtype)
        return super().losses(batch)

    def after_step(self):
        self.after.append(self.linear.weight.grad is None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_precision_asked_for_is_computed_in_and_after_step_follows_each_step(dtype):
    model = Recorder()
    list(fit(model, Batches(make, 8), 3, precision=dtype))
    assert model.dtypes == [dtype] * 3 and model.after == [True] * 3


class PlainDescent(Optimisation):
    """Steps as long as the learning rate times the gradient."""

    def optimiser(self, model, device):
        return torch.optim.SGD(model.parameters(), lr=self.learning_rate)


def test_a_step_is_no_longer_than_the_clipped_gradient_allows():
    optimisation = PlainDescent(1.0, max_norm=0.01)
    model = Regression()
    before = weights(model)
    (step,) = islice(fit(model, Batches(make, 8), 1, optimisation, precision=torch.float32), 1)
    moved = (weights(model) - before).norm().item()
    assert step.gradient_norm > 0.1 and moved == pytest.approx(step.learning_rate * 0.01, rel=1e-3)


def test_the_optimiser_has_the_betas_and_decays_only_matrices():
    optimisation = Optimisation(1e-3, weight_decay=0.3, betas=(0.5, 0.6))
    matrices, vectors = optimisation.optimiser(Regression(), torch.device("cpu")).param_groups
    assert matrices["betas"] == vectors["betas"] == (0.5, 0.6)
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.3, 0.0)
    assert [p.dim() for p in matrices["params"] + vectors["params"]] == [2, 1]


def test_notes_are_signed_as_the_tensors_are(tmp_path):
    from safetensors.torch import load_file, save_file

    path = tmp_path / "weights"
    checkpoint.save(path, {"w": torch.ones(3)}, {"step": 1})
    digest = checkpoint.checksum({"w": torch.ones(3)}, '{"step": 1}')
    save_file(load_file(path), path, metadata={"notes": '{"step": 2}', "checksum": digest})
    with pytest.raises(checkpoint.DamagedCheckpoint, match="checksum"):
        checkpoint.load(path)


def test_a_stage_is_trained_anew_when_its_code_changes(monkeypatch, tmp_path):
    monkeypatch.setenv("VLMCOURSE_CACHE", str(tmp_path))
    assert not stage({"width": 6}).loaded and stage({"width": 6}).loaded
    monkeypatch.setattr(stages, "_code", lambda *things: "another")
    assert not stage({"width": 6}).loaded


def no_space(*args, **options):
    raise OSError(28, "No space left on device")


def test_a_full_disk_loses_no_training(monkeypatch, tmp_path):
    path = tmp_path / "run"
    run(taken=15, checkpoint_path=path)
    before = path.read_bytes()
    monkeypatch.setattr("safetensors.torch.save_file", no_space)
    with pytest.warns(UserWarning, match="step 20 is not saved.*No space left"):
        run(taken=25, checkpoint_path=path)
    assert path.read_bytes() == before and not list(tmp_path.glob("*.part"))
    with pytest.raises(OSError, match="cannot be written"), pytest.warns(UserWarning):
        run(checkpoint_path=path)  # the last step's
    monkeypatch.setenv("VLMCOURSE_CACHE", str(tmp_path))
    with pytest.warns(UserWarning, match="not kept.*No space left"):
        trained = stage({"width": 7})
    assert not trained.loaded and trained.history


def test_a_second_process_is_refused_the_same_file(tmp_path):
    script = textwrap.dedent(f"""
        import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})
        from test_train import *
        from pathlib import Path
        steps = fit(Regression(), Batches(make, 8), 40, checkpoint_path=Path(sys.argv[1]), precision=torch.float32)
        next(steps)
        print("training", flush=True)
        sys.stdin.read()
    """)
    path = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "training\n"
        with pytest.raises(RunLocked, match="another process is training into"):
            run(checkpoint_path=path)
        process.send_signal(signal.SIGKILL)
    (tmp_path / "run.123.part").write_bytes(b"half")  # as a killed process leaves it
    run(checkpoint_path=path)
    assert not list(tmp_path.glob("*.part"))
