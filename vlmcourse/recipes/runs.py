"""The command `vlmcourse train`: a run in a folder of its own, and its model loaded again."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vlmcourse.data.folders import CaptionedPictures, read_dataset, read_folder
from vlmcourse.recipes.recipe import Recipe, get, names
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
) -> dict:
    """Trains, saves every 50 steps, tests. Returns the report, which is also written to report.json.

    paper   name of a recipe
    folder  for PAPER.safetensors (`load` reads it) and report.json
    data    pictures of your own: a folder with metadata (data.folders.read_folder) or a data set of save_to_disk()
    resume  go on from the folder's checkpoint; without it a folder that holds one is refused, so that nothing is lost

    Raises ValueError for settings or data that cannot be used. Of several processes only the first returns the report.
    """
    recipe, scale, state = get(paper), Scale.of(scale), processes()
    sizes, path = recipe.sizes[scale.name], folder / f"{recipe.name}.safetensors"
    steps = sizes.steps if steps is None else steps
    if steps < 1:
        raise ValueError(f"{steps} steps; expected at least 1.")
    with state.main_process_first():
        _check_folder(path, resume, log)
    own, held_out = _own_pictures(recipe, data, scale, log) if data else (None, None)
    options = recipe.own_pictures(own, scale) if own else {}
    settings = {name: value for name, value in options.items() if name != "data"}
    run = recipe.prepare(
        scale, seed, sizes=type(sizes)(**{**vars(sizes), "steps": steps}), **options
    )
    examples = len(own) if own else run.examples
    fingerprint = {
        "recipe": recipe.name,
        "scale": scale.name,
        "seed": seed,
        "data": data and str(data.resolve()),
        "options": settings,
        "words": own and sorted(own.tokenizer.get_vocab()),
    }
    batches = Batches(run.data.batch, min(sizes.batch, examples or sizes.batch), examples, seed)
    for step in fit(
        run.model,
        batches,
        steps,
        recipe.optimisation,
        seed=seed,
        precision=precision,
        checkpoint_path=path,
        checkpoint_every=50,
        fingerprint=fingerprint,
    ):
        on_step(step)
    if not state.is_main_process:
        return {}
    report = recipe.own_report(run.model, held_out) if own else recipe.evaluate(run.model, scale)
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    return report


@dataclass(frozen=True)
class SavedRun:
    """A trained model, the recipe and scale it was trained by, and, if it learnt words of its own, their tokenizer."""

    model: nn.Module
    recipe: Recipe
    scale: Scale
    tokenizer: object

    def encode(self, texts: Sequence[str]) -> Tensor:
        """(B, T) ids of texts, in the model's vocabulary."""
        return tokenizer.encode(texts, using=self.tokenizer)


def load(path: str | Path) -> SavedRun:
    """What `train` wrote: path is its folder, or the file in it.

    Raises FileNotFoundError, ValueError (several files in the folder) or DamagedCheckpoint.
    """
    path = Path(path)
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if len(files) > 1:
        raise ValueError(
            f"{path} holds {', '.join(file.name for file in files)}; name one of them."
        )
    tensors, notes = checkpoint.load(files[0] if files else path / "PAPER.safetensors")
    made = notes["fingerprint"]
    recipe, scale = get(made["recipe"]), Scale.of(made["scale"])
    sizes = recipe.sizes[scale.name]
    sizes = type(sizes)(**{**vars(sizes), "steps": made["steps"]})
    model = recipe.prepare(scale, made["seed"], False, sizes, **made["options"]).model
    prefix = "model."
    model.load_state_dict(
        {
            name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }
    )
    words = made["words"]
    return SavedRun(model.eval(), recipe, scale, words and tokenizer.build_tokenizer(words))


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
            aside = path.rename(path.with_suffix(".damaged"))
            log(f"{error} It is put aside as {aside.name}, and training starts again from step 1.")


def _own_pictures(
    recipe: Recipe, folder: Path, scale: Scale, log: Callable[[str], None]
) -> tuple[CaptionedPictures, CaptionedPictures]:
    """(training part, held-out part). What had to be left out is logged."""
    if recipe.own_pictures is None:
        able = [name for name in names() if get(name).own_pictures]
        raise ValueError(
            f"'{recipe.name}' trains on the course's world alone. Pictures of your own: {', '.join(able)}."
        )
    with warnings.catch_warnings(record=True) as left_out:
        warnings.simplefilter("always")
        saved = [folder / name for name in ("dataset_info.json", "dataset_dict.json")]
        if any(file.is_file() for file in saved):
            rows = read_dataset(str(folder), size=scale.image_size)
        else:
            rows = read_folder(folder, scale.image_size)
    for warning in left_out:
        log(str(warning.message))
    train, held_out = rows.split()
    if len(train) < 2 or not len(held_out):
        raise ValueError(
            f"{len(rows)} readable pictures in {folder}: a batch contrasts pictures with each other, and a "
            "tenth is held out for the test. Expected at least 20, better hundreds."
        )
    return train, held_out
