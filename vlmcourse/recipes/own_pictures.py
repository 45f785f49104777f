"""Your own pictures: read for training; and a trained model with its words in one file: saved, loaded, searched with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vlmcourse.data.folders import CaptionedPictures, read_dataset, read_folder
from vlmcourse.data.images import load_picture, readable
from vlmcourse.evaluation import eval_mode
from vlmcourse.recipes.recipe import Recipe, get
from vlmcourse.training import checkpoint
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer as words
from vlmcourse.world.rendering import to_pixels

FILE = "model.safetensors"
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def read_own_pictures(
    folder: Path,
    size: int,
    image_column: str | None = None,
    text_column: str | None = None,
    log: Callable[[str], None] = print,
) -> tuple[CaptionedPictures, CaptionedPictures]:
    """(training part, held-out part) of a folder with metadata, or of a data set of save_to_disk(). `log` gets what was
    left out.

    Raises ValueError for fewer than three distinct pictures, beside what read_folder and read_dataset raise.
    """
    saved = any((folder / name).is_file() for name in ("dataset_info.json", "dataset_dict.json"))
    columns = {"image_column": image_column, "text_column": text_column}
    columns = {name: column for name, column in columns.items() if column}
    with warnings.catch_warnings(record=True) as left_out:
        warnings.simplefilter("always")
        data = (
            read_dataset(str(folder), size=size, **columns)
            if saved
            else read_folder(folder, size, **columns)
        )
    for warning in left_out:
        log(str(warning.message))
    if len(data.hashes) < 3:
        raise ValueError(
            f"{len(data.hashes)} different readable pictures in {folder}: a batch contrasts pictures with each other, and "
            "one is held out for the test. Expected at least 3, better hundreds."
        )
    return data.split()


@dataclass(frozen=True)
class SavedModel:
    """A trained model, the words it knows, and the recipe and scale it was trained by. Pictures are read as in training.

    Searching and embedding need a model with encode_image and encode_text: CLIP or BLIP.
    """

    model: nn.Module
    tokenizer: object
    recipe: Recipe
    scale: Scale

    @property
    def _config(self):
        if not hasattr(self.model, "encode_text"):
            raise ValueError(f"'{self.recipe}' has no embeddings of texts; expected CLIP or BLIP.")
        return self.model.config

    def embed_texts(self, texts: list[str]) -> Tensor:
        """(N, E) unit vectors. Raises ValueError for a word that was in no caption."""
        with eval_mode(self.model):
            ids = words.encode(texts, self._config.context, using=self.tokenizer)
            return self.model.encode_text(ids)

    def embed_pictures(self, pictures: Iterable) -> Tensor:
        """(N, E) unit vectors of what `load_picture` can read."""
        size = self._config.image_size
        arrays = [load_picture(picture, size) for picture in pictures]
        with eval_mode(self.model):
            parts = to_pixels(np.stack(arrays)).split(64)
            return torch.cat([self.model.encode_image(part) for part in parts])

    def search(
        self, query: str, folder: str | Path, count: int = 5
    ) -> tuple[list[tuple[Path, float]], list[str]]:
        """The pictures under `folder` nearest to a text, best first, with their cosines; and which could not be read, and why.

        Raises FileNotFoundError if there are no pictures, ValueError if none can be read or a word is unknown.
        """
        text = self.embed_texts([query])
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"no folder {folder}.")
        paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in ENDINGS)
        if not paths:
            raise FileNotFoundError(f"no pictures ({', '.join(ENDINGS)}) in {folder} or below it.")
        size = self._config.image_size
        read = {path: readable(lambda path=path: load_picture(path, size)) for path in paths}
        faults = [f"{path}: {reason}" for path, reason in read.items() if isinstance(reason, str)]
        good = [path for path in paths if isinstance(read[path], np.ndarray)]
        if not good:
            raise ValueError(f"none of the {len(paths)} pictures can be read: {faults[0]}")
        cosines = (self.embed_pictures([read[path] for path in good]) @ text.T)[:, 0]
        best = cosines.topk(min(count, len(good)))
        return [
            (good[index], value)
            for index, value in zip(best.indices.tolist(), best.values.tolist())
        ], faults


def save_model(folder: Path, model: nn.Module, tokenizer, settings: dict) -> Path:
    """Model and words in folder/model.safetensors. Raises OSError if it cannot be written.

    settings  `recipe`, `scale`, `seed`, `steps`, and the `options` of the recipe's `setup`: what `load_model` builds it by
    """
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    notes = {
        **settings,
        "vocabulary": [word for word, _ in vocabulary],
        "split_special_tokens": bool(tokenizer.split_special_tokens),
        "preprocessing": "vlmcourse.data.images.load_picture, then -1 to 1",
    }
    checkpoint.save(folder / FILE, model.state_dict(), notes)
    return folder / FILE


def load_model(folder: str | Path) -> SavedModel:
    """What `vlmcourse train PAPER --out FOLDER` has saved, ready to use.

    Raises FileNotFoundError, ValueError for another kind of checkpoint, DamagedCheckpoint.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        unfinished = any(Path(folder).glob("*.safetensors"))
        raise FileNotFoundError(
            f"no {FILE} in {folder}. "
            + (
                "Its training isn't finished: go on with --resume."
                if unfinished
                else "Expected a folder that `vlmcourse train PAPER --out FOLDER` wrote."
            )
        )
    tensors, notes = checkpoint.load(path)
    if "recipe" not in notes or "options" not in notes:
        raise ValueError(f"{path} was not written by `vlmcourse train`.")
    recipe, scale = get(notes["recipe"]), Scale.of(notes["scale"])
    sizes = replace(recipe.sizes[scale.name], steps=notes["steps"])
    model = recipe.prepare(scale, notes["seed"], False, sizes, **notes["options"]).model
    model.load_state_dict(tensors)
    tokenizer = words.build_tokenizer(notes["vocabulary"])
    tokenizer.split_special_tokens = notes["split_special_tokens"]
    return SavedModel(model.eval(), tokenizer, recipe, scale)
