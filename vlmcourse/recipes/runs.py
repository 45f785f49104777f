"""The command `vlmcourse train`: a run in a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from vlmcourse.recipes.own_pictures import read_own_pictures, save_model
from vlmcourse.recipes.recipe import get, names
from vlmcourse.training import checkpoint
from vlmcourse.training.batches import Batches
from vlmcourse.training.devices import processes
from vlmcourse.training.fit import Step, fit
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer


def train(
    paper: str,
    folder: Path,
    scale: str | None = None,
    data: Path | None = None,
    steps: int | None = None,
    seed: int = 0,
    resume: bool = False,
    precision: torch.dtype | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
    log: Callable[[str], None] = print,
    *,
    batch: int | None = None,
    image_column: str | None = None,
    text_column: str | None = None,
) -> dict:
    """Trains, saves every 50 steps, tests. Returns the report (of several processes, only the first).

    paper   name of a recipe
    folder  for PAPER.safetensors (the run, to resume), model.safetensors (the model, for `vlmcourse.load`) and report.json
    data    pictures of your own: a folder with metadata or a data set of save_to_disk(), see data.folders
    resume  go on from the folder's run; without it a folder that holds one is refused, so that nothing is lost
    batch   examples in a batch, over all processes. Default: the scale's, or all there are, as a multiple of the processes

    Raises ValueError for settings or data that cannot be used.
    """
    recipe, scale, state = get(paper), Scale.of(scale), processes()
    sizes, path = recipe.sizes[scale.name], folder / f"{recipe.name}.safetensors"
    sizes = replace(sizes, steps=sizes.steps if steps is None else steps)
    if sizes.steps < 1:
        raise ValueError(f"{sizes.steps} steps; expected at least 1.")
    if batch is not None and batch < 2:
        raise ValueError(f"a batch of {batch}; expected at least 2 pictures to contrast.")
    with state.main_process_first():
        _check_folder(path, resume, log)
    own = held_out = None
    words, options = tokenizer.world_tokenizer(), {}
    if data:
        if recipe.own_pictures is None:
            able = ", ".join(name for name in names() if get(name).own_pictures)
            raise ValueError(
                f"'{paper}' trains on the course's world alone; on pictures of your own: {able}."
            )
        own, held_out = read_own_pictures(data, scale.image_size, image_column, text_column, log)
        longest = max(own.encode(part.texts).shape[1] for part in (own, held_out))
        words, options = own.tokenizer, recipe.own_pictures(own, longest, scale)
    run = recipe.prepare(scale, seed, sizes=sizes, **options, **({"data": own} if own else {}))
    examples = len(own) if own else run.examples
    if run.before and not path.exists():
        run.before(on_step=on_step)
    fitting = min(sizes.batch, examples or sizes.batch) // state.num_processes * state.num_processes
    batches = Batches(run.data.batch, batch or max(1, fitting), examples, seed)
    settings = {"recipe": recipe.name, "scale": scale.name, "seed": seed, "options": options}
    for step in fit(
        run.model,
        batches,
        sizes.steps,
        recipe.optimisation,
        seed=seed,
        precision=precision,
        checkpoint_path=path,
        checkpoint_every=50,
        fingerprint={
            **settings,
            "batch": batches.size,
            "data": [own.fingerprint(), held_out.fingerprint()] if own else None,
        },
    ):
        on_step(step)
    if not state.is_main_process:
        return {}
    save_model(folder, run.model, words, {**settings, "steps": sizes.steps})
    report = recipe.own_report(run.model, held_out) if own else recipe.evaluate(run.model, scale)
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    return report


def _check_folder(path: Path, resume: bool, log: Callable[[str], None]) -> None:
    """A good checkpoint is only ever continued; a damaged one is put aside."""
    if path.exists() and not resume:
        raise ValueError(
            f"{path} already holds a run. Go on with it: --resume. Or train elsewhere: --out ANOTHER_FOLDER."
        )
    if path.exists():
        try:
            checkpoint.load(path)
        except checkpoint.DamagedCheckpoint as error:
            damaged = path.rename(path.with_suffix(".damaged"))
            log(
                f"{error} It is put aside as {damaged.name}, and training starts again from step 1."
            )
