"""Explorers: what is drawn is what the models say, every state has a description, and one faulty mask is always found."""

import base64
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from teaching import explorer_attention, explorer_flamingo, explorer_models
from vlmcourse import introspection, recipes, world
from vlmcourse.evaluation import eval_mode, next_token_probabilities
from vlmcourse.introspection import AttentionMaps
from vlmcourse.parts import masks as parts
from vlmcourse.plots import pictures
from vlmcourse.plots.style import FigureStack, png
from vlmcourse.training.scale import Scale
from vlmcourse.widgets import explorer, explorers, interactive
from vlmcourse.widgets.explorers import (
    capfilt,
    few_shot,
    gates,
    masks,
    sampling,
    scene,
)
from vlmcourse.world import interleaved, tokenizer

SCALE = Scale.of("smoke")


@pytest.fixture
def shown(monkeypatch):
    """What was displayed: (widget, still, metadata), ..."""
    seen = []
    monkeypatch.setattr(interactive, "display_widget", lambda *given: seen.append(given))
    return seen


@pytest.fixture(scope="module")
def flamingo():
    return recipes.get("flamingo").train_or_load(SCALE)


class TestMasks:
    def test_every_row_of_the_table_is_there(self):
        assert set(masks.PATTERNS) == set(parts.gallery())

    @pytest.mark.parametrize(
        "text, why", [("", "0 words"), ("a " * 15, "15 words"), ("a cat", "no <image>")]
    )
    def test_what_cannot_be_drawn_is_said(self, text, why):
        with pytest.raises(ValueError, match=why):
            masks.pattern("Flamingo: last image only", text, 2)

    def test_it_is_displayed_alive_and_as_what_is_kept(self, monkeypatch):
        seen = []
        monkeypatch.setattr("IPython.display.display", lambda data, **_: seen.append(data))
        explorers.mask_explorer()
        assert {"application/vnd.jupyter.widget-view+json", explorer.MIME} <= set(seen[0])
        assert "may attend to" in seen[0]["text/plain"]

    def test_what_is_kept_says_what_it_shows(self, shown):
        explorers.mask_explorer("a b c d", "prefix LM", 2)
        ((_, static, _),) = shown
        assert static[explorer.MIME]["data"] == {
            "text": "a b c d",
            "name": "prefix LM",
            "number": 2,
        }
        assert static["text/plain"].endswith("'d' may attend to: a, b, c, d.")
        assert "'a' may attend to: a, b." in masks.describe("prefix LM", "a b c d", 2, 0)


class TestGates:
    def test_gates_come_back_and_shut_gates_are_the_language_model(self, flamingo):
        model, before = flamingo.model.model, None
        before = [
            gate.clone() for name, gate in model.state_dict().items() if name.endswith("alpha")
        ]
        batch = explorer_flamingo.gate_pages(flamingo, SCALE, count=4)
        with gates.gates_at(model, 0):
            shut = sum(value.item() for value in model.losses(batch).values())
        assert shut == pytest.approx(
            explorer_flamingo.gate_trace(flamingo, batch)["blind"], abs=1e-4
        )
        after = [gate for name, gate in model.state_dict().items() if name.endswith("alpha")]
        assert all(map(torch.equal, before, after))
        for value in (-0.1, 1.1):
            with pytest.raises(ValueError, match="expected 0 to 1"), gates.gates_at(model, value):
                pass
        with (
            pytest.raises(ValueError, match="has 0 of them"),
            gates.gates_at(torch.nn.Linear(1, 1), 0.5),
        ):
            pass

    def test_behind_shut_gates_nobody_hears_but_the_gates(self, flamingo):
        batch = explorer_flamingo.gate_pages(flamingo, SCALE, count=4)
        with gates.gates_at(flamingo.model.model, 0):
            found = gates.gradients(flamingo.model.model, batch)
        assert (
            found["gates"] > 0
            and found["new words"] > 0
            and found["resampler"] == found["gated attention"] == found["language model"] == 0
        )
        opened = gates.gradients(flamingo.model.model, batch)
        assert (
            opened["resampler"] > 0
            and opened["gated feed-forward"] > 0
            and opened["vision tower"] == 0
        )

    def test_the_replay_is_what_the_stage_noted(self, flamingo):
        pages = explorer_flamingo.gate_pages(flamingo, SCALE, count=4)
        replay = gates.Replay(**explorer_flamingo.gate_trace(flamingo, pages))
        assert replay.steps[0] == 1 and replay.steps[-1] == len(flamingo.history)
        for name, values in flamingo.model.gates_by_step().items():
            assert list(replay.gates[name]) == [values[step - 1] for step in replay.steps]

    def test_one_gate_by_hand_leaves_the_others(self, flamingo):
        model = flamingo.model.model
        names = list(introspection.gate_values(model))
        with gates.gates_at(model, 0.5, names[0]):
            found = introspection.gate_values(model)
        assert (
            found[names[0]] == pytest.approx(0.5)
            and found[names[1]] == introspection.gate_values(model)[names[1]] != 0.5
        )
        with (
            pytest.raises(ValueError, match="has 0 of them"),
            gates.gates_at(model, 0.5, "no such gate"),
        ):
            pass

    def test_openings_are_steps_then_factors_then_each_gate_alone(self):
        trained, grid = torch.tensor([0.5, -0.25]), torch.tensor([-1.0, 0.0, 1.0])
        found = gates.settings(trained, torch.zeros(1, 2), grid, torch.tensor([0.0, 2.0]))
        one_by_one = [[-1, -0.25], [0, -0.25], [1, -0.25], [0.5, -1], [0.5, 0], [0.5, 1]]
        alone = [[-1, 0], [0, 0], [1, 0], [0, -1], [0, 0], [0, 1]]
        assert found.tolist() == [
            *([0, 0], [0, 0], [1, -0.5], *one_by_one, *alone),
            *([0.5, 0], [0, -0.25]),
        ]

    def test_what_is_saved_is_what_the_model_says_with_such_gates(self, flamingo, shown):
        model, pages = flamingo.model.model, explorer_flamingo.gate_pages(flamingo, SCALE, count=4)
        scenes = [world.sample("test", index, 0, (1, 1)) for index in range(2)]
        ask = explorer_flamingo.continuation_function(model, scenes, SCALE.image_size)
        replay = gates.Replay(**explorer_flamingo.gate_trace(flamingo, pages))
        explorers.gate_explorer(model, replay, ask, scenes, pages)
        ((widget, static, _),) = shown
        data = static[explorer.MIME]["data"]
        count, grid = len(data["names"]), data["grid"]
        whole = np.frombuffer(base64.b64decode(data["probabilities"]), np.uint8)
        saved = whole.reshape(-1, 2, gates.WORDS) / 255
        rows = {"closed": len(replay.steps), "one": len(replay.steps) + gates.FACTORS}
        written = np.frombuffer(base64.b64decode(data["written"]), "<u2").reshape(-1, 2)
        assert len(saved) == len(written) == rows["one"] + count * (2 * len(grid) + 1)
        prompt = interleaved.chunked_prompts([(scenes[1], gates.TEXT)], SCALE.image_size)
        name = list(introspection.gate_values(model))[1]  # at the last value of the grid
        opened = {
            "closed": gates.gates_at(model, 0.0),
            "one": gates.gates_set(model, {name: torch.tensor(grid[-1])}),
        }
        first = np.frombuffer(base64.b64decode(data["first"]), np.uint8).reshape(-1, 2) / 255
        for kind, row in (("closed", rows["closed"]), ("one", rows["one"] + 2 * len(grid) - 1)):
            with opened[kind]:
                likely = next_token_probabilities(model, prompt, 400)[0]
            expected = [likely.get(word, 0) for word in data["words"][1]]
            assert saved[row, 1].tolist() == pytest.approx(expected, abs=0.003), kind
            says = (data["texts"][written[row, 1]].split() or ["."])[0]
            assert first[row, 1] == pytest.approx(likely[says], abs=0.003), kind
        widget.question = {"number": 1, "gates": [0.0] * count, "text": gates.TEXT}
        found = widget.answer["value"][1]
        assert found["written"] == data["texts"][written[rows["closed"], 1]]
        with gates.gates_at(model, 0.0):
            likely = next_token_probabilities(model, prompt, gates.WORDS)[0]
        assert found["probabilities"] == pytest.approx(list(likely.values()), abs=1e-4)
        widget.question = {"number": 2, "gates": [0.0] * count, "text": "zebrafish"}
        assert "unknown word" in widget.answer["error"]


class Stripes(torch.nn.Module):
    """A model that nobody knows: it says 'cat' in so far as the picture's left half is bright."""

    config = SimpleNamespace(image_size=32)

    def vision_context(self, pixel_values):
        return {"brightness": pixel_values[..., :16].mean((1, 2, 3))}

    def forward(self, ids, cache=None, padding_mask=None, brightness=None):
        logits = torch.zeros(*ids.shape, 500)
        logits[..., tokenizer.encode(["cat"])[0, 1]] = brightness[:, None]
        return logits


def test_a_new_model_is_one_row_and_every_explorer_finds_it(monkeypatch):
    row = explorer_models.ExploredModel(lambda scale: Stripes())
    monkeypatch.setattr(explorer_models, "MODELS", {"Stripes": row})
    (maps_of,) = explorer_models.attention_functions(SCALE).values()
    (ask,) = explorer_models.answer_functions(SCALE).values()
    maps = maps_of(torch.ones(3, 32, 32), "a cat")
    assert maps.rows == ("a", "cat") and maps.maps.shape == (1, 1, 2, 16)
    assert maps.maps[0, 0, 1].reshape(4, 4).gt(0).tolist() == [[True, True, False, False]] * 4
    (answers,) = ask([world.Scene((world.Thing("cat", 0.5, 0.5, 0.4),), "yellow")], "a")
    assert answers["cat"] == max(answers.values())


def test_attention_rows_are_probabilities_over_patches_for_all_five():
    pixel_values = world.Pairs("test", SCALE.image_size).batch([0])["pixel_values"][0]
    for name, look in explorer_models.attention_functions(SCALE).items():
        looked = look(pixel_values, "a picture of a cat")
        layers, heads, rows, patches = looked.maps.shape
        assert rows == len(looked.rows) and patches in (4, 16) and (looked.maps >= 0).all(), name
        if "Frozen" not in name:
            assert (looked.maps.sum(-1) <= 1 + 1e-5).all() and looked.maps.sum() > 0, name
    with pytest.raises(ValueError, match="unknown word"):
        look(pixel_values, "a zebrafish")


def test_covering_is_for_models_that_say_words_and_have_other_maps():
    pixel_values = world.Pairs("test", SCALE.image_size).batch([0])["pixel_values"][0]
    found = explorer_models.covering_functions(SCALE)
    assert set(found) == {"Flamingo", "BLIP-2", "BLIP"}
    for name, maps_of in found.items():
        maps = maps_of(pixel_values, "a cat")
        assert maps.rows == ("a", "cat") and maps.maps.shape == (1, 1, 2, 16), name
        assert len(maps.probabilities) == 2 and all(0 < one < 1 for one in maps.probabilities)
        assert [len(words) for words in maps.instead] == [16, 16]


def test_maps_are_kept_to_one_part_in_255(shown):
    maps = torch.rand(2, 3, 2, 4, generator=torch.Generator().manual_seed(0))

    def maps_of(pixel_values, text):
        tokenizer.encode([text])
        return AttentionMaps(("a", "cat"), maps * pixel_values.mean(), "test")

    def covered(pixel_values, text):
        return AttentionMaps(
            ("a", "cat"),
            maps[:1, :1],
            "test",
            "",
            "nats",
            (1, 0.5),
            (("a", "a", "a", "an"), ("cat", "owl", "cat", "cat")),
        )

    images = np.full((1, 8, 8, 3), 255, np.uint8)
    explorers.attention_explorer({"m": maps_of}, images, ["a cat"], {"m": covered})
    ((widget, static, _),) = shown
    (kept,) = static[explorer.MIME]["data"]["maps"]["m"]
    (other,) = static[explorer.MIME]["data"]["covering"]["m"]
    assert other["probabilities"] == [1, 0.5] and other["shape"] == [1, 1, 2, 4]
    assert other["instead"] == ["a a a an", "cat owl cat cat"]
    found = np.frombuffer(base64.b64decode(kept["maps"]), np.uint8).reshape(kept["shape"])
    scale = world.to_pixels(np.full((1, 8, 8, 3), 255, np.uint8)).mean().item()
    assert found / 255 * kept["most"] == pytest.approx((maps * scale).numpy(), abs=scale / 255)
    question = {"kind": "maps", "model": "m", "picture": 0, "text": "a cat"}
    widget.question = question | {"number": 1}
    assert widget.answer == {"number": 1, "value": kept}
    widget.question = question | {"number": 2, "kind": "covering"}
    assert widget.answer == {"number": 2, "value": other}
    widget.question = question | {"number": 3, "text": "a zebrafish"}
    assert "unknown word" in widget.answer["error"]


def test_the_playground_keeps_the_model_s_vectors(shown):
    model = recipes.clip.new_clip(recipes.clip.clip_config(SCALE)).eval()
    pairs = world.Pairs("test", SCALE.image_size)
    explorers.clip_playground(model, pairs, ["cat", "dog"])
    data = shown[0][1][explorer.MIME]["data"]

    def unpacked(text, rows):
        whole = np.frombuffer(base64.b64decode(text), np.int8).reshape(rows, -1).astype(float)
        return torch.tensor(whole / np.linalg.norm(whole, axis=1, keepdims=True))

    nouns = data["vocabulary"]
    saved = unpacked(data["templates"]["a picture of {}"], len(nouns))
    with torch.no_grad():
        cat = model.encode_text(tokenizer.encode(["a picture of a cat"]))[0]
        first = model.encode_image(pairs.batch(pairs.distinct(1))["pixel_values"])[0]
    assert saved[nouns.index("cat")] @ cat.double() > 0.999
    assert unpacked(data["image"], len(data["pictures"]))[0] @ first.double() > 0.999
    assert data["nouns"][0] == list(pairs.scene(pairs.distinct(1)[0]).words)


def test_a_tree_holds_the_model_s_probabilities_and_every_likeliest_word_goes_on():
    model, length = recipes.language.new_language(SCALE).eval(), 4
    tree = sampling.tree(model, "a picture of a", length)
    by_length = {len(path.split()): path for path in tree}
    assert sorted(by_length) == list(range(length))
    ends = {sampling.END, sampling.vocabulary()[tokenizer.EOS]}
    for path, node in tree.items():
        words = path.split()
        assert sampling.END not in words
        plain = all(
            dict(zip(tree[before]["words"], tree[before]["probabilities"]))[word] >= sampling.LIKELY
            for before, word in ((" ".join(words[:n]), words[n]) for n in range(len(words)))
        )
        for word, value in zip(node["words"], node["probabilities"]):
            if plain and value >= sampling.LIKELY and word not in ends and len(words) < length - 1:
                assert " ".join([*words, word]) in tree
        likeliest = node["words"][0]
        goes_on = len(path.split()) < length - 1 and likeliest not in ends
        assert not goes_on or f"{path} {likeliest}".strip() in tree
        assert node["probabilities"] == sorted(node["probabilities"], reverse=True)
    with torch.no_grad():
        ids = tokenizer.encode(["a picture of a cat"])[:, :-1]
        expected = model(ids)[0, -1].softmax(-1).sort(descending=True)
    (node,) = sampling.continuations(model, "a picture of a", [["cat"]])
    assert node["probabilities"] == pytest.approx(expected.values[: sampling.WORDS].tolist(), 1e-3)
    places = torch.tensor(sampling.tail_places(len(expected.values) - sampling.WORDS))
    assert places[0] == 0 and places[-1] == len(expected.values) - sampling.WORDS - 1
    others = expected.values[sampling.WORDS :]
    assert node["tail"] == pytest.approx((-others[places].log()).tolist(), abs=0.051)
    (named,) = sampling.continuations(model, "a picture of a", [["cat"]], [["zib"]], 2)
    assert len(named["words"]) in (2, 3) and "zib" in named["words"]
    rank = sampling.vocabulary().index("zib")
    with torch.no_grad():
        zib = model(ids)[0, -1].softmax(-1)[rank].item()
    assert named["probabilities"][named["words"].index("zib")] == pytest.approx(zib, 1e-3)
    (whole,) = sampling.continuations(model, "a picture of a", [[]], count=len(expected.values))
    assert len(whole["words"]) == len(expected.values) and whole["tail"] == []
    with pytest.raises(ValueError, match="unknown word"):
        sampling.continuations(model, "a zebrafish", [[]])


def test_maps_that_point_at_the_thing_and_maps_that_know_nothing():
    scenes = [world.sample("test", index, 0, (1, 1)) for index in range(6)]
    rows = ("[DEC]", *(scene.words[0] for scene in scenes))

    def evenly(pixel_values, text):
        return AttentionMaps(rows, torch.ones(2, 3, len(rows), 16) / 16, "weights")

    def cleverly(pixel_values, text):  # where a picture is not as its corner is, there is the thing
        changes = (
            (pixel_values - pixel_values[:, :1, :1])
            .abs()
            .sum(0)
            .reshape(4, 8, 4, 8)
            .sum((1, 3))
            .flatten()
        )
        return AttentionMaps(rows, (changes / changes.sum()).expand(2, 3, len(rows), 16), "weights")

    dull, clever = (
        explorer_models.pointing_scores(look, scenes, 32) for look in (evenly, cleverly)
    )
    assert (
        dull["weight at the noun"] == pytest.approx(dull["by chance"], abs=1e-5)
        and 0 < dull["by chance"] < 0.7
    )
    assert clever["weight at the noun"] > 0.9 and clever["brightest square, at the noun"] == 1
    assert clever["weight at the word before"] == pytest.approx(clever["weight at the noun"])

    def early(pixel_values, text):  # only the word before the noun finds the thing
        maps = cleverly(pixel_values, text).maps.clone()
        maps[:, :, 1:] = 1 / 16
        return AttentionMaps(("[DEC]", text.split()[4]), maps[:, :, :2], "weights")

    before = explorer_models.pointing_scores(early, scenes, 32)
    assert before["weight at the word before"] > 0.9 and before["weight at the noun"] < 0.7


def test_few_shot_prompts_name_their_pictures_and_lose_their_support():
    made = few_shot.prompt([(("cat", 0), "dax"), (("car", 1), "blicket")], ("cat", 1))
    assert [part for part in made if isinstance(part, str)] == [
        "this is a dax .",
        "this is a blicket .",
        "this is a",
    ]
    scenes = [part for part in made if not isinstance(part, str)]
    assert [scene.words[0] for scene in scenes] == ["cat", "car", "cat"] and scenes[0] != scenes[2]
    bare = few_shot.without_support(made)
    assert sum(not isinstance(part, str) for part in bare) == 1 and bare[-2] == made[-2]
    with pytest.raises(ValueError, match="2 words; expected one"):
        few_shot.prompt([(("cat", 0), "big dax")], ("cat", 0))


def test_names_have_the_model_s_probabilities_however_prompts_are_batched(flamingo):
    model = flamingo.model.model
    pages = [
        few_shot.prompt(examples, query)
        for count in (0, 2)
        for examples, query in few_shot.short_prompts(
            [("cat", 0), ("car", 0)], ("dax", "wug"), count
        )
    ]
    rows = explorer_flamingo.naming_function(model, SCALE.image_size, batch=7)(
        pages, ["dax", "wug"]
    )
    assert len(rows) == len(pages) == 2 + 32
    names = tokenizer.encode(["dax", "wug"])[:, 1]
    for number in (0, 5, 33):
        batch = interleaved.chunked_prompts([pages[number]], SCALE.image_size).batch([0])
        with torch.no_grad():
            logits = model(batch["ids"], **model.vision_context(batch["pixel_values"]))[0, -1]
        expected = logits[names].softmax(-1).tolist()
        assert list(rows[number].values()) == pytest.approx(expected, abs=1e-4)


def test_the_builder_keeps_every_short_prompt_and_asks_for_the_others(shown):
    asked = []

    def answer(pages, names):
        asked.extend(pages)
        return [dict(zip(names, (len(page) / 8, 1 - len(page) / 8))) for page in pages]

    explorers.few_shot_builder(answer, ("cat", "dog"))
    ((widget, static, _),) = shown
    assert static[explorer.MIME]["data"]["pictures"][0]["seen"] == "cat on pink, top right"
    answers = static[explorer.MIME]["data"]["answers"]
    sizes = [{name: len(base64.b64decode(one[name])) for name in one} for one in answers]
    assert sizes == [{"given": 4 * 8**n, "blind": 4 * 2**n} for n in range(3)]
    assert set(base64.b64decode(answers[2]["given"])) == {round(255 * 6 / 8)}
    assert set(base64.b64decode(answers[2]["blind"])) == {round(255 * 4 / 8)}
    assert "dax 0.75 with the examples' pictures and 0.50 without" in static["text/plain"]
    question = {"examples": [["owl", 0, "wug"]], "query": ["owl", 1], "names": ["wug", "dax"]}
    widget.question = {"number": 1, **question}
    assert widget.answer["value"] == [{"wug": 0.5, "dax": 0.5}, {"wug": 0.375, "dax": 0.625}]
    assert asked[-2] == few_shot.prompt([(("owl", 0), "wug")], ("owl", 1))
    widget.question = {"number": 2, "word": "owl", "picture": 1}
    widget.question = {"number": 3, "word": "zebrafish", "picture": 0}
    assert "no noun 'zebrafish'" in widget.answer["error"]


def test_a_threshold_counts_exactly(shown):
    probability = torch.tensor([0.1, 0.2, 0.6, 0.9])
    noisy = torch.tensor([True, False, True, False])
    assert capfilt.at_threshold(probability, noisy, 0.5) == capfilt.Filtered(2, 1, 2)
    assert capfilt.at_threshold(probability, noisy, 0.0) == capfilt.Filtered(0, 0, 2)
    images = world.Pairs("test", 32).images(range(4))
    explorers.threshold_explorer(images, list("abcd"), probability, noisy)
    ((_, static, _),) = shown
    assert "precision 1 of 2, recall 1 of 2" in static["text/plain"]
    kept = static[explorer.MIME]["data"]["captions"]
    assert [one["noisy"] for one in kept] == noisy.tolist() and kept[2]["probability"] == 0.6
    with pytest.raises(ValueError, match="expected one of each"):
        capfilt.at_threshold(probability, noisy[:2], 0.5)


def test_web_captions_come_with_the_truth():
    model = explorer_models.MODELS["BLIP"].load(SCALE)
    images, texts, probability, noisy = explorer_models.noisy_captions(model, SCALE, 40)
    assert len(images) == len(texts) == len(probability) == 40 and 4 <= noisy.sum() <= 20
    again = explorer_models.noisy_captions(model, SCALE, 40)
    assert torch.equal(noisy, again[3]) and torch.allclose(probability, again[2])


def test_the_maker_keeps_what_models_answer_about_saved_scenes_and_asks_about_others(shown):
    models = explorer_models.answer_functions(SCALE)
    explorers.scene_maker(models, texts={"CLIP": "a cat, a dog"})
    ((widget, static, _),) = shown
    data = static[explorer.MIME]["data"]
    scenes = list(scene.saved_scenes())
    assert len(scenes) == 20 * 8 and scenes[8 * 4 + 1].things[0].x == scene.POSITIONS[1][0]
    for name, ask in models.items():
        kept = dict(data["models"])[name]
        table = np.frombuffer(base64.b64decode(kept["table"]), "<u2").reshape(160, -1, 2)
        (answers,) = ask(scenes[77:78], kept["text"])
        expected = scene.top_answers(answers)
        assert kept["text"] == ("a cat, a dog" if name == "CLIP" else "a picture of a")
        assert [value for _, value in expected] == pytest.approx(
            (table[77, :, 1] / 65535).tolist(), abs=1e-4
        ), name
        assert expected[0][0] == kept["words"][table[77, 0, 0]]
    owl = {"word": "owl", "x": 0.2, "y": 0.3, "size": 0.5}
    question = {"things": [owl], "background": "pink", "model": "BLIP", "text": "a picture of"}
    widget.question = {"number": 1, **question}
    made = world.Scene((world.Thing("owl", 0.2, 0.3, 0.5),), "pink")
    (answers,) = models["BLIP"]([made], "a picture of")
    found = widget.answer["value"]["answers"]
    assert [value for _, value in found] == pytest.approx(
        [value for _, value in scene.top_answers(answers)]
    )
    widget.question = {"number": 2, **question, "things": []}
    assert "nothing is in the scene" in widget.answer["error"]
    widget.question = {"number": 3, **question, "text": "a zebrafish"}
    assert "unknown word" in widget.answer["error"]
    widget.question = {"number": 4, "word": "owl"}
    picture = widget.answer["value"]["sprite"].removeprefix("data:image/png;base64,")
    pixels = np.asarray(Image.open(BytesIO(base64.b64decode(picture))))
    assert pixels.shape[2] == 4 and pixels[0, 0, 3] == 0 and (pixels[..., 3] == 255).mean() > 0.3


def test_a_page_is_as_high_as_its_figures_together():
    one = pictures(np.zeros((1, 8, 8, 3), np.uint8), ["a"])
    both = Image.open(BytesIO(png(FigureStack((one, one), "both"))))
    assert both.height == 2 * Image.open(BytesIO(png(one))).height


def test_the_left_out_square_s_vector_and_pixels_are_changed_one_by_one():
    model = explorer_models.MODELS["Flamingo"].load(SCALE)
    scene = world.sample("test", 0, 0, (1, 1))
    head, _, *lines = explorer_attention.left_out_table(model, scene, SCALE.image_size).split("\n")
    assert f"'{scene.words[0]}' after" in head and len(lines) == 5
    values = [[float(one) for one in line.split("|")[2:-1]] for line in lines]
    assert all(len(row) == 3 and all(0 <= one <= 1 for one in row) for row in values)
    pixels = world.to_pixels([world.render(scene, SCALE.image_size)])
    word = world.article(scene.words[0]).split()[0]
    with torch.no_grad(), eval_mode(model):
        ids = tokenizer.encode([f"<image> a picture of {word}"])[:, :-1]
        after = model(ids, **model.vision_context(pixels))[0, -1].softmax(-1)
    noun = tokenizer.encode([scene.words[0]])[0, 1]
    assert values[0][2] == pytest.approx(after[noun].item(), abs=0.006)
