"""Recipes are found by a registry: a new paper is one file in papers, one recipe and one master, and every list has it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vlmcourse
from vlmcourse import recipes
from vlmcourse.recipes.recipe import describe
from vlmcourse.training.scale import SCALES, Scale

ROOT = Path(__file__).parents[1]
PAPER = '''"""A paper that was never written."""
from torch import nn


class Dummy(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.map = nn.Linear(3, width)

    def losses(self, batch):
        return {"dummy": self.map(batch["pixel_values"].mean((2, 3))).square().mean()}
'''
RECIPE = '''"""The recipe of a paper that was never written."""
from vlmcourse import world
from vlmcourse.papers.dummy import Dummy
from vlmcourse.recipes.recipe import Recipe, Run, Sizes
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.stages import seeded


def setup(scale, sizes, seed, stage, *, width=4):
    with seeded(seed):
        model = Dummy(width)
    return Run(model, world.Pairs("train", scale.image_size, seed), width)


recipe = Recipe("dummy", {"smoke": Sizes(4, 3)}, setup, Optimisation(), lambda *_: {"score": 0.5})
'''
MASTER = """# %% [markdown]
# # 99 Dummy
#
# A lesson about a paper that was never written.

# %%
print("dummy")
"""
LISTS = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
import vlmcourse, test_devices
from vlmcourse import lessons, recipes
assert Path(vlmcourse.__file__).is_relative_to(Path.cwd()), vlmcourse.__file__
print("registry" if "dummy" in recipes.names() else "")
print("devices" if "dummy" in test_devices.MODELS else "")
print("lessons" if "99_dummy" in [path.stem for path in lessons.notebooks()] else "")
test_devices.test_a_training_step_stays_on_its_device("dummy")
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A copy of the course with a dummy paper: three files more, and nothing else changed."""
    house = tmp_path_factory.mktemp("house")
    for name in ("vlmcourse", "tests", "notebooks"):
        shutil.copytree(ROOT / name, house / name, ignore=shutil.ignore_patterns("*.pyc"))
    for name in ("pyproject.toml", "SYLLABUS.md"):
        shutil.copy(ROOT / name, house / name)
    (house / "vlmcourse/papers/dummy.py").write_text(PAPER)
    (house / "vlmcourse/recipes/dummy.py").write_text(RECIPE)
    (house / "notebooks/masters/99_dummy.py").write_text(MASTER)
    shutil.copy(
        house / "notebooks/01_attention_and_masks.ipynb", house / "notebooks/99_dummy.ipynb"
    )
    return house


def run(house, *arguments):
    code = f"import sys; sys.path[:0] = [{str(house)!r}, {str(house / 'notebooks')!r}]\n"
    return subprocess.run(
        [sys.executable, "-c", code + arguments[0], *map(str, arguments[1:])],
        cwd=house,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_three_files_more_and_every_list_has_the_paper(house):
    done = run(house, LISTS)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) >= {"registry", "devices", "lessons"}


def test_the_command_line_trains_the_new_paper(house, tmp_path):
    main = "from vlmcourse.cli import main\nsys.argv = ['vlmcourse', *sys.argv[1:]]\nmain()"
    done = run(house, main, "train", "dummy", "--scale", "smoke", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "score" in done.stdout and (tmp_path / "report.json").is_file()
    assert "dummy" in run(house, main, "train", "list").stdout.split()


def test_names_are_unique_and_unknown_ones_are_explained():
    files = {path.stem for path in Path(recipes.__file__).parent.glob("*.py")}
    assert len(recipes.names()) == len(set(recipes.names())) >= 10
    assert {"clip", "blip", "blip2", "flamingo", "frozen", "language"} <= {*recipes.names()} & files
    with pytest.raises(ValueError, match="no recipe 'clop'; there are .*clip"):
        recipes.get("clop")
    with pytest.raises(AttributeError, match="no attribute 'clop'"):
        _ = recipes.clop


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_has_sizes_at_every_scale_and_an_untrained_model(name):
    recipe = recipes.get(name)
    assert {*recipe.sizes} == {*SCALES}
    assert all(size.batch >= 1 and size.steps >= 1 for size in recipe.sizes.values())
    first, again = (recipe.prepare(Scale.of("smoke"), 1, trained=False) for _ in range(2))
    state = again.model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in first.model.state_dict().items())
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != recipe.prepare(Scale.of("smoke"), 2, trained=False).fingerprint


@pytest.mark.parametrize("name", recipes.names())
def test_the_command_trains_every_recipe_and_its_model_is_loaded_again(name, tmp_path):
    losses = []
    report = recipes.train(
        name, tmp_path, "smoke", steps=2, on_step=lambda step: losses.append(step.loss)
    )
    assert report and len(losses) >= 2
    loaded = vlmcourse.load(tmp_path)
    assert loaded.recipe.name == name and loaded.scale.name == "smoke" and not loaded.model.training
    from vlmcourse.training import checkpoint

    tensors, _ = checkpoint.load(tmp_path / "model.safetensors")
    state = loaded.model.state_dict()
    assert tensors.keys() == state.keys()
    assert all(torch.equal(state[key], value) for key, value in tensors.items())


def test_pictures_of_your_own_are_refused_in_words_where_a_recipe_needs_the_world(tmp_path):
    with pytest.raises(ValueError, match="world alone; on pictures of your own: blip, clip"):
        recipes.train("frozen", tmp_path, "smoke", data=tmp_path, steps=1)


def test_a_fingerprint_has_values_and_no_names():
    sizes = recipes.get("language").sizes["smoke"]
    assert describe(sizes) == [4, 20, 64, 1]
    assert describe({"a": (1, None)}) == {"a": [1, None]}
    assert describe(torch.nn.Linear(1, 1).requires_grad_(False))[1] == 0
    with pytest.raises(TypeError, match="has no fingerprint"):
        describe(object())
