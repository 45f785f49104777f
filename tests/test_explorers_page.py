"""Explorers on a page without a kernel: each gesture is answered, nothing is loaded, everybody can read them.

Needs chromium (apt-get install chromium) and playwright (pip install playwright); without them these tests are skipped.
"""

import base64
import importlib.util
import re

import numpy as np
import pytest
import torch

pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")

from benchmarks import browser, gestures  # noqa: E402
from vlmcourse import recipes, world  # noqa: E402
from vlmcourse.parts.generation import beam_search  # noqa: E402
from vlmcourse.parts.layers import TanhGate  # noqa: E402
from vlmcourse.parts.masks import phi  # noqa: E402
from vlmcourse.training.scale import Scale  # noqa: E402
from vlmcourse.widgets import explorers, interactive  # noqa: E402
from vlmcourse.widgets.explorer import MIME, picture_address, source  # noqa: E402
from vlmcourse.widgets.explorers import few_shot, gates, masks, sampling, scene  # noqa: E402
from vlmcourse.world import tokenizer  # noqa: E402
from vlmcourse.world.interleaved import END_OF_CHUNK, IMAGE_TEXT  # noqa: E402
from vlmcourse.world.pages import page_text  # noqa: E402

pytestmark = pytest.mark.skipif(
    browser.CHROMIUM is None, reason="no browser: apt-get install chromium"
)
PHONE = {"viewport": {"width": 360, "height": 740}}
TEXTS = {"packed documents": "a cat | a dog", "ViLBERT, VL-BERT: padding only": "a cat <pad> <pad>"}


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=browser.CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("module", gestures.GESTURES)
def test_each_gesture_is_answered_and_nothing_is_loaded(chromium, module):
    with gestures.explorer_page(chromium, module) as page:
        for name, act in gestures.GESTURES[module].items():
            assert gestures.reaction(page.locator(".explorer"), act) is not None, name
        page.wait_for_timeout(600)
        assert len(page.locator(".explorer [role=status]").inner_text()) > 20
        assert page.said == page.asked == []


@pytest.mark.parametrize("module", gestures.GESTURES)
def test_it_is_drawn_before_it_is_on_the_page_as_jupyterlab_does(chromium, module):
    render = """async ([source, data]) => {
      const module = await import(URL.createObjectURL(new Blob([source], {type: 'text/javascript'})));
      const el = document.createElement('div');
      module.default.render({model: {get: name => ({data})[name], on() {}}, el});
      document.body.append(el);
      return el.querySelectorAll('svg').length;
    }"""
    with gestures.explorer_page(chromium, module) as page:
        assert page.evaluate(render, [source(module), gestures.kept()[module]["data"]])
        assert page.said == []


@pytest.mark.parametrize("module", gestures.GESTURES)
def test_it_fits_a_phone(chromium, module):
    with gestures.explorer_page(chromium, module, **PHONE) as page:
        for act in gestures.GESTURES[module].values():
            gestures.reaction(page.locator(".explorer"), act)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.skipif(
    importlib.util.find_spec("axe_playwright_python") is None,
    reason="no axe: pip install axe-playwright-python",
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("module", gestures.GESTURES)
def test_axe_finds_nothing_serious(chromium, module, scheme):
    from axe_playwright_python.sync_playwright import Axe

    with gestures.explorer_page(chromium, module, color_scheme=scheme) as page:
        assert page.locator(".explorer.dark").count() == (scheme == "dark")
        found = [
            (one["id"], one["nodes"][0]["html"][:120])
            for one in Axe().run(page).response["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert not found, found


@pytest.mark.parametrize("name", masks.PATTERNS)
def test_the_browser_computes_the_course_s_masks(chromium, name):
    text = TEXTS.get(name, masks.TEXT)
    declared = masks.pattern(name, text, 2).mask.to_bool()[0, 0].int().tolist()
    with gestures.explorer_page(chromium, "masks") as page:
        page.get_by_label("mask", exact=True).select_option(name)
        page.get_by_label("text", exact=True).fill(text)
        cells = page.locator("[data-may]").evaluate_all("all => all.map(one => +one.dataset.may)")
        assert cells == [cell for row in declared for cell in row]
        # attention is computed: an output moves exactly where the mask lets it see the changed key
        page.locator('[data-query="0"][data-at="1"]').click()
        moved = page.locator("[data-moved]").evaluate_all(
            "all => all.map(one => +one.dataset.moved)"
        )
        assert [one > 1e-9 for one in moved] == [bool(row[1]) for row in declared]


def test_a_lie_is_found_by_changing_keys(chromium):
    with gestures.explorer_page(chromium, "masks") as page:
        gestures.press("Hide a lie in the computation")(page.locator(".explorer"))
        rows, found = len(masks.TEXT.split()), None
        for key in range(rows):
            page.locator(f'[data-query="0"][data-at="{key}"]').click()
            for query in range(rows):
                moved = float(
                    page.locator(f'[data-query="{query}"][data-moved]').get_attribute("data-moved")
                )
                cell = page.locator(f'[data-query="{query}"][data-at="{key}"]')
                if (moved > 1e-9) != (cell.get_attribute("data-may") == "1"):
                    found = cell
        gestures.press("Accuse a cell")(page.locator(".explorer"))
        page.locator('[data-query="6"][data-at="0"]').click()
        assert "did as the drawing says" in page.locator(".explorer").inner_text()
        found.click()
        assert (
            "Found after 7 changed keys and 1 wrong guess:"
            in page.locator(".explorer").inner_text()
        )
        assert "the mask forbids it" in page.locator(".explorer").inner_text()
        lied = int(found.get_attribute("data-query"))  # its bar shows the proof
        assert float(page.locator("[data-moved]").nth(lied).get_attribute("data-moved")) > 0


def test_the_browser_decodes_as_the_course_does(chromium):
    generator = torch.Generator().manual_seed(0)
    table = 2 * torch.randn(468, 468, generator=generator)
    end = tokenizer.world_tokenizer().convert_tokens_to_ids(sampling.END)
    table[:, end] += 3

    def model(ids, cache=None):
        return table[ids]

    start, convert = tokenizer.encode(["a cat"])[:, :-1], tokenizer.world_tokenizer()
    words, length = sampling.vocabulary(), 10
    tree = sampling.tree(model, "a cat", length)
    data = {
        "trees": {"a cat": sampling.packed(tree)},
        "prompts": ["a cat"],
        "end": sampling.END,
        "vocabulary": len(words),
    }
    data |= {"beams": 4, "length": length}
    with gestures.explorer_page(chromium, "sampling", data) as page:
        for beams in range(1, 5):
            gestures.press("beam search")(page.locator(".explorer"))
            page.get_by_label("beams", exact=True).fill(str(beams))
            gestures.press("To the end")(page.locator(".explorer"))
            found = beam_search(model, start, length, beams, end).tolist()
            written = " ".join(page.locator(".explorer strong").all_inner_texts())
            assert written.split() == convert.convert_ids_to_tokens(found), beams
        gestures.press("nucleus")(page.locator(".explorer"))
        page.get_by_label("p", exact=True).fill("0.05")
        gestures.press("Draw word")(page.locator(".explorer"))
        assert page.locator("[data-kind=kept], [data-kind=taken]").count() <= 2
        assert page.locator(".explorer strong").inner_text() == tree[""]["words"][0]


def test_without_a_kernel_a_walk_takes_saved_words_and_comes_to_its_end(chromium):
    data = gestures.kept()["sampling"]["data"]
    tree = data["trees"]["a picture of a cat on"]

    def named(path: str) -> list[str]:
        return tree[path].split("\t")[0].split()[:9]

    with gestures.explorer_page(chromium, "sampling") as page:
        root, board = page.locator(".explorer"), page.locator(".tree")
        page.get_by_label("prompt", exact=True).select_option("a picture of a cat on")
        gestures.press("nucleus")(root)
        for p, temperature in (("1", "3"), ("0.5", "3"), ("0.05", "1"), ("0.95", "1")):
            page.get_by_label("p", exact=True).fill(p)
            page.get_by_label("temperature", exact=True).fill(temperature)
            first = set()
            for _ in range(12):
                gestures.press("Start again")(root)
                gestures.press("To the end")(root)
                page.wait_for_function(
                    "() => /Stopped after|has ended/.test(document.querySelector('.explorer').innerText)"
                )
                written = page.locator(".explorer strong").first.inner_text().split()
                assert all(" ".join(written[:n]) in tree for n in range(min(len(written), 6)))
                first.add(" ".join(written[:1]))
            unlikely = first - set(named(""))
            if (p, temperature) != ("0.5", "3"):
                assert bool(unlikely) == (temperature == "3"), (p, temperature, first)
        gestures.press("by hand")(root)
        gestures.press("Start again")(root)
        for first_word in named(""):
            live = [f"{first_word} {word}" for word in named(first_word) if word != sampling.END]
            assert sum(path in tree for path in live) >= 1
        board.locator("[data-path='white']").click()
        offered = board.locator("[data-path^='white ']")
        paths = offered.evaluate_all("boxes => boxes.map((box) => box.dataset.path)")
        assert paths and all(path in tree or path.endswith(f" {sampling.END}") for path in paths)
        assert page.locator(".explorer strong").inner_text() == "white"
        assert page.get_by_role("button", name="Take word", exact=True).is_enabled()
        for method in ("greedy", "nucleus", "beam search"):  # words are taken by hand alone
            gestures.press(method)(root)
            assert board.locator("[data-kind]").count() and not board.locator("[data-path]").count()


def test_nucleus_says_one_temperature_what_can_be_drawn_and_with_which_share(chromium):
    with gestures.explorer_page(chromium, "sampling") as page:
        root = page.locator(".explorer")
        gestures.press("nucleus")(root)
        page.get_by_label("p", exact=True).fill("0.05")
        page.locator("[data-node='0 0']").hover()
        assert "It is drawn with certainty." in root.inner_text()
        assert re.search(r"drawn with (\.\d\d) / \1 = 1\.00\.", root.inner_text())
        page.get_by_label("p", exact=True).fill("0.8")
        page.get_by_label("temperature", exact=True).fill("2.2")
        gestures.press("Draw word")(root)
        taken = page.locator("[data-kind=taken] text").nth(1).text_content()
        said = re.search(r"at temperature 2\.2, before the cut: (\.\d+)\.", root.inner_text())[1]
        assert float(said) == pytest.approx(float(taken), abs=0.0051)
        for column in range(2):  # a word that can't be drawn isn't coloured as one that can
            boxes = page.locator(
                f"[data-node^='{column} '][data-kind=unsaved] rect[stroke-dasharray]"
            )
            unsaved = page.locator(f"[data-node^='{column} '][data-kind=unsaved]").count()
            assert boxes.count() == unsaved
        if unsaved:
            assert "can't be drawn here" in root.inner_text()
            assert re.search(r"This page can draw only \d+ of them", root.inner_text())
        page.get_by_label("prompt", exact=True).select_option("a picture of a cat")
        page.get_by_label("temperature", exact=True).fill("1")
        page.locator("summary").click()
        stop, both = re.search(
            r"From the slider's p = (\.\d+) on: .* together have (\.\d+),", root.inner_text()
        ).groups()
        assert float(both) < float(stop)
        for p, words in ((float(stop) - 0.05, 2), (float(stop), 3)):
            page.get_by_label("p", exact=True).fill(f"{p:.2f}")
            assert f"{words} of 468 words stay in the nucleus" in root.inner_text()


def test_the_beam_table_is_sorted_by_mean_and_names_all_alike_that_have_not_ended(chromium):
    with gestures.explorer_page(chromium, "sampling") as page:
        root = page.locator(".explorer")
        gestures.press("beam search")(root)
        for beams in ("2", "3", "4"):
            page.get_by_label("beams", exact=True).fill(beams)
            gestures.press("To the end")(root)
            page.wait_for_function(
                "() => document.querySelector('.explorer').innerText.includes('The search is over')"
            )
            rows = page.locator("[data-beam]:not([data-lost])").all_inner_texts()
            means = [float(row.split("= ")[1].split()[0]) for row in rows if "for comp" not in row]
            assert means == sorted(means, reverse=True)
            assert "beam search's text" in rows[0]
            for row, text in zip(
                rows,
                page.locator("[data-beam]").evaluate_all(
                    "all => all.map((one) => one.dataset.beam)"
                ),
            ):
                assert ("not ended" in row) == (not text.endswith(sampling.END)), row


def test_beam_search_with_the_shipped_model_differs_from_greedy_for_each_prompt():
    data = gestures.kept()["sampling"]["data"]
    assert tuple(data["prompts"]) == sampling.PROMPTS
    model = recipes.get("language").train_or_load(Scale.of("laptop")).model
    convert = tokenizer.world_tokenizer()
    end = convert.convert_tokens_to_ids(sampling.END)
    for prompt in sampling.PROMPTS:
        start = tokenizer.encode([prompt])[:, :-1]
        found = {
            tuple(beam_search(model, start, sampling.LENGTH, beams, end).tolist())
            for beams in range(1, sampling.MAX_BEAMS + 1)
        }
        assert len(found) > 1, prompt


def test_beam_search_begins_with_probabilities_and_goes_on_with_their_logarithms(chromium):
    with gestures.explorer_page(chromium, "sampling") as page:
        root = page.locator(".explorer")
        gestures.press("beam search")(root)
        assert page.locator(".explorer strong").inner_text() == "…"
        probability = float(page.locator("[data-kind] text").nth(1).text_content())
        gestures.press("Step")(root)
        score = float(page.locator("[data-kind] text").nth(1).text_content())
        assert score == pytest.approx(np.log(probability), abs=0.03)
        assert f"= {score:.2f}" in root.inner_text()


def test_beams_with_like_means_get_a_third_decimal(chromium):
    rows = {"": ["a b c", ".5 .4982 .0018", ".05"], "a": [". a", ".9 .1", ".05"]}
    rows["b"] = rows["a"]
    tree = {path: "\t".join(parts) for path, parts in rows.items()}
    data = {"trees": {"x": tree}, "prompts": ["x"], "end": ".", "vocabulary": 4}
    data |= {"beams": 4, "length": 2}
    with gestures.explorer_page(chromium, "sampling", data) as page:
        root = page.locator(".explorer")
        gestures.press("beam search")(root)
        gestures.press("Step")(root)
        assert "-0.693 / 1 = -0.693" in root.inner_text()
        assert "-0.697 / 1 = -0.697" in root.inner_text()
        gestures.hover("[data-node='0 1']")(root)
        assert page.locator(".explorer strong").first.inner_text() == "b"


def test_a_word_drawn_from_the_others_stands_below_the_likeliest_and_is_said(chromium):
    rows = {"": ["a b c d e f g h i z", ".1 .1 .1 .1 .1 .1 .1 .1 .1 .05", ".05"]}
    for path in "abcdefghiz":
        rows[path] = [". a", ".9 .05", ".05"]
    tree = {path: "\t".join(parts) for path, parts in rows.items()}
    data = {"trees": {"x": tree}, "prompts": ["x"], "end": ".", "vocabulary": 11}
    data |= {"beams": 4, "length": 2}
    with gestures.explorer_page(chromium, "sampling", data) as page:
        page.evaluate("Math.random = () => 0.999999")
        root = page.locator(".explorer")
        gestures.press("nucleus")(root)
        page.get_by_label("p", exact=True).fill("1")
        gestures.press("Draw word")(root)
        column = page.locator("[data-kind] title").all_text_contents()[:10]
        assert column == [*"abcdefghi", "z"]
        assert "'z' was drawn from the others (lowest in its column)" in root.inner_text()
        page.get_by_label("p", exact=True).fill("0.05")
        assert "'z' (orange, struck through) was drawn with other settings" in root.inner_text()


@pytest.mark.parametrize("p, temperature", [(0.5, 1), (0.9, 1), (0.98, 1), (1, 0.2)])
def test_the_nucleus_has_as_many_words_as_the_model_s(chromium, p, temperature):
    generator = torch.Generator().manual_seed(0)
    logits = 2.5 * torch.randn(468, generator=generator)

    def model(ids, cache=None):
        return logits.expand(*ids.shape, -1)

    words = sampling.vocabulary()
    tree = sampling.packed(sampling.tree(model, "a cat", 2))
    data = {"trees": {"a cat": tree}, "prompts": ["a cat"], "end": sampling.END}
    data |= {"vocabulary": len(words), "beams": 4, "length": 2}
    probabilities = (logits.double() / temperature).softmax(-1).sort(descending=True).values
    expected = int((probabilities.cumsum(0) - probabilities < p).sum()) if p < 1 else len(words)
    with gestures.explorer_page(chromium, "sampling", data) as page:
        gestures.press("nucleus")(page.locator(".explorer"))
        slider = page.get_by_label("p", exact=True)
        slider.evaluate("one => { one.step = 0.01; }")
        slider.fill(str(p))
        page.get_by_label("temperature", exact=True).fill(str(temperature))
        found = page.locator(".explorer").inner_text()
        said = next(line for line in found.splitlines() if "in the nucleus" in line)
        assert int(re.search(r"\d+", said)[0]) == pytest.approx(expected, rel=0.05, abs=1.5)


def test_all_refused_classes_are_named_and_forgotten_in_another_view(chromium):
    with gestures.explorer_page(chromium, "clip") as page:
        root, typed = page.locator(".explorer"), page.get_by_label("add classes")
        typed.fill("a small boat, <b>hi</b>, cat, owl")
        typed.press("Enter")
        alert = root.locator("[role=alert]")
        page.wait_for_function("() => document.querySelector('[role=alert]').innerText")
        assert "'a small boat', '<b>hi</b>'" in alert.inner_text()
        assert "A class already: 'cat'" in alert.inner_text()
        assert root.locator("[data-class=owl]").count() == 1
        gestures.press("similarity matrix")(root)
        assert alert.inner_text() == ""


def test_a_wider_gap_spoils_the_search_through_both_and_not_the_one_through_captions(chromium):
    with gestures.explorer_page(chromium, "clip") as page:
        root, counts = page.locator(".explorer"), {}
        gestures.press("modality gap")(root)
        for times in ("0", "1", "7"):
            page.get_by_label("gap", exact=True).fill(times)
            alone, _, mixed = (
                int(one.split(" of ")[0].split()[-1])
                for one in root.locator("[data-found]").all_inner_texts()
            )
            means = [root.locator(f"[data-mean='{one}']").first.bounding_box() for one in "01"]
            counts[times] = alone, mixed, abs(means[0]["x"] - means[1]["x"])
        assert min(alone for alone, _, _ in counts.values()) >= 31
        assert counts["0"][1] > counts["7"][1] + 10
        assert 4 * counts["0"][2] < counts["1"][2] < counts["7"][2]


def test_a_thing_that_comes_after_what_is_not_there_is_said_to_be_missed(chromium):
    data = gestures.kept()["clip"]["data"]
    number = data["nouns"].index(["balloon", "trumpet"])
    with gestures.explorer_page(chromium, "clip") as page:
        page.locator(f"[data-picture='{number}']").click()
        gestures.press("Add its things")(page.locator(".explorer"))
        page.locator("[data-class=trumpet]").wait_for()
        told = page.locator("[data-remark]").inner_text()
        cosines = dict(
            page.locator("[data-class]").evaluate_all(
                "all => all.map(one => [one.dataset.class, +one.textContent.split('cosine ')[1].replace('−', '-')])"
            )
        )
        assert cosines["dog"] > cosines["trumpet"] and "this CLIP misses trumpet" in told
        assert "dog" in told.split("not in the picture")[0]


def test_a_prompt_that_is_said_to_change_the_order_does(chromium):
    with gestures.explorer_page(chromium, "clip") as page:
        remark = page.locator("[data-remark]")
        for number in range(len(gestures.kept()["clip"]["data"]["pictures"])):
            page.locator(f"[data-picture='{number}']").click()
            if "With the prompt" in remark.inner_text():
                break
        prompt, rest = remark.inner_text().split("With the prompt '")[1].split("' ", 1)
        page.get_by_label("prompt", exact=True).select_option(prompt)
        cosines = dict(
            page.locator("[data-class]").evaluate_all(
                "all => all.map(one => [one.dataset.class, +one.textContent.split('cosine ')[1].replace('−', '-')])"
            )
        )
        assert max(cosines, key=cosines.get) == rest.split()[0]


def test_a_mask_brings_what_it_is_about_and_a_new_lie_into_a_game(chromium):
    with gestures.explorer_page(chromium, "masks") as page:
        root, typed = page.locator(".explorer"), page.get_by_label("text", exact=True)
        for name, word in {
            "packed documents": "|",
            "ViLBERT, VL-BERT: padding only": "<pad>",
        }.items():
            page.get_by_label("mask", exact=True).select_option(name)
            assert {one for one in typed.input_value().split() if one in ("<pad>", "|")} == {word}
            assert page.locator("[data-may='0']").count()
        gestures.press("Hide a lie in the computation")(root)
        page.get_by_label("mask", exact=True).select_option("prefix LM")
        assert typed.input_value() == masks.TEXT  # as nothing was typed
        assert "a new lie is hidden" in root.inner_text()
        gestures.press("Accuse a cell")(root)
        cells = page.locator("[data-may='0']")
        for number in range(cells.count()):
            cells.nth(number).click()
            if "A lucky guess" in root.inner_text():
                break
        assert "no key was changed" in root.inner_text()
        typed.fill("a b <pad>")
        page.get_by_label("mask", exact=True).select_option("packed documents")
        assert typed.input_value() == "a b | <pad>"


def test_the_first_model_is_the_first_that_was_given(chromium):
    data = gestures.kept()["attention"]["data"]
    with gestures.explorer_page(chromium, "attention") as page:
        group = page.locator(".controls [role=group]").first
        named = group.locator("button").all_inner_texts()
        assert named == data["models"] and set(named) == set(data["maps"])
        assert group.locator("[aria-pressed=true]").inner_text() == data["models"][0]


def test_the_browser_finds_the_answer_of_each_opening(chromium, monkeypatch):
    """Of a model with two gates whose probability of '<pad>' says how they stand."""
    seen, model = (
        [],
        torch.nn.ModuleDict({name: TanhGate() for name in ("gate", "gate_feedforward")}),
    )
    monkeypatch.setattr(interactive, "display_widget", lambda *given: seen.append(given))
    monkeypatch.setattr(
        gates,
        "learning",
        lambda *_: {f"all gates {how}": {"gates": 1.0} for how in ("as trained", "closed")},
    )
    with torch.no_grad():
        model["gate"].alpha.fill_(0.3)
        model["gate_feedforward"].alpha.fill_(-0.2)

    def probability(values, number: int) -> float:
        return 0.4 + 0.3 * values[0] + 0.17 * values[1] + 0.1 * number

    def ask(values, numbers, text):
        rows = torch.zeros(len(values), 400)
        rows[:, 1:6] = 0.03
        rows[:, tokenizer.encode(["owl"])[0, 1]] = 0.02
        rows[:, 0] = torch.tensor([probability(*one) for one in zip(values.tolist(), numbers)])
        return rows, ["owl question : what"] * len(rows)

    replay = gates.Replay(
        (1, 5, 9), {"gate": (0.1, 0.2, 0.3), "gate_feedforward": (0.0, -0.1, -0.2)}, (3, 2, 1), 3
    )
    scenes = [world.sample("test", index, 0, (1, 1)) for index in range(2)]
    explorers.gate_explorer(model, replay, ask, scenes, {})
    acts = [
        gestures.key("[role=application]", "ArrowLeft"),
        gestures.click("[data-picture='1']"),
        gestures.write("all gates times", "14"),
        gestures.drag("[data-gate='0'] circle", 50),
        gestures.drag("[data-gate='1'] circle", -30),
        gestures.press("Close all gates"),
        gestures.drag("[data-gate='1'] circle", 70),
        gestures.key("[role=application] >> nth=2", "ArrowLeft"),
        gestures.press("As trained"),
    ]
    with gestures.explorer_page(chromium, "gates", seen[0][1][MIME]["data"]) as page:
        for number, act in enumerate(acts):
            act(page.locator(".explorer"))
            stand = page.locator("[data-gate]").evaluate_all(
                "all => all.map(one => +one.dataset.value)"
            )
            label = page.locator("[data-answer='<pad>'] text").last.text_content()
            expected = probability(stand, int(number > 0))
            assert float(label) == pytest.approx(expected, abs=0.008), (number, stand)
        assert set(page.locator("[data-written]").all_inner_texts()) == {"owl"}
        # the word that it writes has a bar, though it isn't among the likeliest six
        assert page.locator("[data-answer=owl] text").last.text_content() == ".02"
        times = page.locator("label:has-text('all gates times') output")
        for act, said in (
            (gestures.press("Close all gates"), "0.0"),
            (gestures.key("[role=application]", "ArrowLeft"), "–"),
            (gestures.key("[role=application]", "End"), "1.0"),
            (gestures.key("[role=application]", "Home"), "–"),
            (gestures.press("As trained"), "1.0"),
            (gestures.drag("[data-gate='0'] circle", 50), "–"),
        ):
            act(page.locator(".explorer"))
            assert times.inner_text() == said


def test_a_gate_alone_at_its_mark_is_counted_and_who_learns_shares_its_gates(chromium):
    data = gestures.kept()["gates"]["data"]
    with gestures.explorer_page(chromium, "gates") as page:
        root, opening = page.locator(".explorer"), page.get_by_label("gates", exact=True)
        counted, sentences = page.locator("[data-tried]"), page.locator("[data-written]")
        gestures.press("who learns")(root)
        assert opening.input_value() == "all gates closed"
        gestures.press("what it says")(root)
        assert len(set(sentences.all_inner_texts())) == 1  # nothing of the picture is heard
        box = page.locator("[data-gate='4'] circle").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x - 200, y, steps=100)  # over its mark and on
        page.mouse.up()
        assert page.locator("[data-gate='4']").get_attribute("data-value") == "-0.5"
        assert counted.count() == 0
        opening_name = f"only {data['names'][4]} open"
        gestures.press("who learns")(root)
        opening.select_option(opening_name)
        gestures.press("what it says")(root)
        right = [
            index
            for index, said in enumerate(sentences.all_inner_texts())
            if said.split()[0] in data["nouns"][index]
        ]
        assert counted.count() == 1 and f"{len(right)} of 5" in counted.text_content()
        assert [data["nouns"][index][0] in counted.text_content() for index in right] == [True] * 4
        trained = float(page.locator("[data-gate='4']").get_attribute("data-value"))
        assert trained == data["trained"][4]
        gestures.key("[role=application] >> nth=0", "Home")(root)
        gestures.press("who learns")(root)
        assert opening.input_value() == "all gates closed"  # the nearest to step 1
        assert "Nearest measured" in page.locator(".stage").inner_text()


def test_a_mark_is_filled_where_it_holds_at_the_next_step_too_and_jumped_gates_leave_a_trace(
    chromium,
):
    with gestures.explorer_page(chromium, "gates") as page:
        root, picture = page.locator(".explorer"), gestures.kept()["gates"]["data"]["nouns"]
        page.locator(f"[data-picture='{picture.index(['train'])}']").click()
        marks = {
            title: page.locator(f"[data-right={title}]").evaluate_all(
                "all => all.map(one => [+one.getAttribute('x'), one.dataset.holds])"
            )
            for title in ("thing", "background")
        }
        assert [holds for _, holds in marks["background"]] == ["false"] + ["true"] * 25
        # the background's first filled mark comes one saved step before the thing's
        assert marks["background"][2][0] == marks["thing"][0][0]
        assert page.locator("[data-was]").count() == 0
        gestures.key("[role=application] >> nth=0", "Home")(root)
        gestures.drag("[data-gate='1'] circle", -40)(root)
        assert page.locator("[data-was]").count() == 5
        assert page.locator("[data-changed]").count() == 5
        gestures.key("[role=application] >> nth=2", "ArrowDown")(root)
        assert page.locator("[data-was]").count() == 0


def test_a_curve_names_its_gate_and_a_mark_what_was_said(chromium):
    data = gestures.kept()["gates"]["data"]
    with gestures.explorer_page(chromium, "gates", viewport={"width": 1000, "height": 900}) as page:
        plot, pointed = page.locator("[role=application]").first, page.locator("[data-pointed]")
        box, seen = plot.bounding_box(), set()
        for y in range(20, 120, 2):
            page.mouse.move(box["x"] + box["width"] - 40, box["y"] + y)
            seen |= set(pointed.all_text_contents())
        named = {words.split(":")[0] for words in seen}
        assert named == set(data["names"])
        thing = page.locator("[data-right=thing]").last.bounding_box()
        page.mouse.move(thing["x"] + 2, thing["y"] + 4)
        said = page.locator("[data-written='0']").inner_text()
        assert pointed.text_content() == f"step {data['steps'][-1]}: {said}"
        assert f"{data['nouns'][0][0]} at steps" in plot.get_attribute("aria-label")
        page.locator("[data-gate='2'] text").first.hover()  # a row shows its curve
        assert pointed.text_content().split(":")[0] == data["names"][2]


def test_on_a_phone_the_gates_stand_right_below_what_is_said(chromium):
    with gestures.explorer_page(chromium, "gates", **PHONE) as page:
        first = page.locator("[data-picture='0']").bounding_box()["y"]
        gate = page.locator("[data-gate='5']").bounding_box()
        assert first < gate["y"] < gate["y"] + gate["height"] < first + 650
        assert page.locator("[data-answer]").first.bounding_box()["y"] > gate["y"]


def test_a_finger_that_scrolls_over_the_curves_moves_nothing(chromium):
    touch = {"viewport": {"width": 390, "height": 700}, "has_touch": True}
    with gestures.explorer_page(chromium, "gates", **touch) as page:
        plot, step = page.locator("[role=application]").first, page.locator("output").first
        plot.scroll_into_view_if_needed()
        box, cdp = plot.bounding_box(), page.context.new_cdp_session(page)
        start = step.inner_text()

        def swipe(right: float, down: float) -> None:
            x, y = box["x"] + 150, box["y"] + 120 - page.evaluate("scrollY") + scrolled
            cdp.send(
                "Input.dispatchTouchEvent",
                {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]},
            )
            for part in range(1, 11):
                point = {"x": x + right * part / 10, "y": y + down * part / 10}
                cdp.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
            cdp.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
            page.wait_for_timeout(300)

        scrolled = page.evaluate("scrollY")
        swipe(8, -100)
        assert page.evaluate("scrollY") > scrolled and step.inner_text() == start
        swipe(60, 4)
        moved = step.inner_text()
        assert moved != start
        swipe(0, 0)  # a tap
        assert step.inner_text() not in (start, moved)


def test_the_browser_finds_the_answer_about_each_scene(chromium, monkeypatch):
    """Of a model whose probability of 'yes' says which of the saved scenes it is asked about."""
    seen, scenes = [], list(scene.saved_scenes())
    monkeypatch.setattr(interactive, "display_widget", lambda *given: seen.append(given))

    def ask(asked, text):
        return [{"yes": (1 + scenes.index(one)) / 200, "no": 0} for one in asked]

    explorers.scene_maker({"one": ask})
    width = 280 * (scene.POSITIONS[1][0] - scene.POSITIONS[0][0])
    acts = {
        gestures.drag("[data-thing='0']", width): ((1, 3), "blue"),
        gestures.click("[data-background=pink]"): ((1, 3), "pink"),
        gestures.drag("[data-thing='0']", 0, width): ((3, 1), "pink"),  # they exchange
        gestures.key("[role=application]", "ArrowLeft"): ((2, 1), "pink"),
        gestures.drag("[data-thing='1']", -width / 2, width / 2): ((2, 4), "pink"),
        gestures.key("[role=application]", "ArrowUp"): ((2, 0), "pink"),
        gestures.drag("[data-thing='1']", width, width): ((2, 3), "pink"),  # over the middle
        gestures.press("Change places"): ((3, 2), "pink"),
        gestures.drag("[data-thing='0']", -width): ((2, 3), "pink"),
        gestures.key("[role=application]", "ArrowUp"): ((0, 3), "pink"),
        gestures.drag("[data-thing='0']", width, width): ((3, 0), "pink"),  # they exchange
        gestures.click("svg circle >> nth=4"): ((4, 0), "pink"),
        gestures.key("[role=application]", "ArrowDown"): ((2, 0), "pink"),
        gestures.key("[role=application]", "Home"): ((4, 0), "pink"),
        gestures.click("[data-first] >> nth=9"): ((2, 1), "pink"),
        gestures.click("[data-count=one][data-on=white]"): ((2, 1), "white"),
        gestures.click("[data-first] >> nth=19"): ((4, 3), "white"),
    }
    with gestures.explorer_page(chromium, "scene", seen[0][1][MIME]["data"]) as page:
        for act, (pair, background) in acts.items():
            act(page.locator(".explorer"))
            expected = next(
                (1 + number) / 200
                for number, one in enumerate(scenes)
                if [(thing.x, thing.y) for thing in one.things]
                == [scene.POSITIONS[place] for place in pair]
                and one.background == background
            )
            label = page.locator("[data-answer=yes] text").last.text_content()
            assert float(label) == pytest.approx(expected, abs=0.0051), pair
            assert page.locator(f"[data-tally=one][data-on={background}]").text_content() == "0:0"
            assert page.locator("[data-model=one]").inner_text().split() == [
                "one",
                "yes",
                "✗",
                label,
            ]


def test_the_map_counts_what_each_model_says_first_and_frames_the_scene_of_now(chromium):
    data = gestures.kept()["scene"]["data"]
    with gestures.explorer_page(chromium, "scene") as page:
        root, squares = page.locator(".explorer"), page.locator("[data-first]")
        count, start = 20, data["background"]
        for background, _ in data["backgrounds"]:
            page.locator(f"button[data-background={background}]").click()
            first = squares.evaluate_all("all => all.map(one => one.dataset.first.split(' '))")
            assert len(first) == len(data["models"]) * count
            for row, (name, _) in enumerate(data["models"]):
                said = [
                    sum(word in one for one in first[row * count : (row + 1) * count])
                    for word in data["words"]
                ]
                kept = page.locator(f"[data-tally='{name}'][data-on={background}]")
                assert kept.text_content() == "{}:{}".format(*said)
        page.locator(f"button[data-background={start}]").click()
        gestures.press("Change places")(root)
        for row, (name, _) in enumerate(data["models"]):
            frame = page.locator(f"[data-now='{name}']")
            framed = frame.evaluate(
                """frame => {
                  const middle = one => { const box = one.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; };
                  const [x, y] = middle(frame), near = one => Math.hypot(middle(one)[0] - x, middle(one)[1] - y);
                  return [...document.querySelectorAll('[data-first]')].find(one => near(one) < 2).dataset.first;
                }"""
            )
            shown = page.locator(f"[data-model='{name}'] strong").inner_text()
            assert framed == shown, name
            assert row or framed in ("cat", "car")
        # in words: what is pointed at, else what is framed
        told = page.locator("[data-told]")
        assert told.inner_text().startswith("Framed: cat bottom right, car top left: Flamingo says")
        page.locator("[data-map=BLIP] [data-first]").nth(4).hover()
        word = page.locator("[data-map=BLIP] [data-first]").nth(4).get_attribute("data-first")
        assert told.inner_text().startswith(f"cat top right, car top left: BLIP says {word} .")
        page.locator("[data-count=CLIP][data-on=white]").hover()
        one, other = page.locator("[data-tally=CLIP][data-on=white]").text_content().split(":")
        assert f"CLIP on white: cat {one}, car {other}, neither" in told.inner_text()
        # what is not among the likeliest is no zero
        gestures.press("Start again")(root)
        label = page.locator("[data-model='BLIP-2'] svg").get_attribute("aria-label")
        assert "car <" in label and page.locator("[data-model='BLIP-2'] [data-below=car]").count()


def test_a_thing_follows_the_hand_and_settles_on_a_dot(chromium):
    with gestures.explorer_page(chromium, "scene") as page:
        thing = page.locator("[data-thing='0']")
        box = thing.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 25, y + 10, steps=5)
        assert thing.bounding_box()["x"] == pytest.approx(box["x"] + 25, abs=1)
        page.mouse.move(x + 60, y + 90, steps=5)
        assert thing.bounding_box()["y"] == pytest.approx(box["y"] + 90, abs=1)
        page.mouse.up()
        middle = page.locator("[role=application] svg").bounding_box()
        settled = thing.bounding_box()
        assert settled["x"] + settled["width"] / 2 == pytest.approx(middle["x"] + 140, abs=1)
        assert "cat in the middle" in page.locator("[role=application]").get_attribute("aria-label")


def test_a_finger_can_hit_a_square_and_drags_a_thing_upwards_without_scrolling(chromium):
    with gestures.explorer_page(chromium, "scene", has_touch=True, is_mobile=True, **PHONE) as page:
        car, cdp = page.locator("[data-thing='1']"), page.context.new_cdp_session(page)
        box, scrolled = car.bounding_box(), page.evaluate("scrollY")
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for kind, far in (("touchStart", 0), *(("touchMove", 12 * n) for n in range(1, 11))):
            points = [{"x": x, "y": y - far}]
            cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        cdp.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.wait_for_timeout(300)
        assert page.evaluate("scrollY") == scrolled
        assert "car top right" in page.locator("[role=application]").get_attribute("aria-label")
        box = page.locator("[data-map=CLIP] [data-first]").first.bounding_box()
        assert min(box["width"], box["height"]) > 17
        models, likely = page.locator("[data-model]").last, page.locator("[data-answer]").first
        below = likely.bounding_box()["y"] - models.bounding_box()["y"]
        assert 0 < below < 120  # a tap on a model is answered on the screen


@pytest.mark.parametrize("threshold", ["0", "0.1", "0.5"])
def test_what_the_threshold_keeps_and_loses_is_counted(chromium, threshold):
    captions = gestures.kept()["capfilt"]["data"]["captions"]
    kept = [one["noisy"] for one in captions if one["probability"] >= float(threshold)]
    true = sum(not one["noisy"] for one in captions)
    with gestures.explorer_page(chromium, "capfilt") as page:
        page.get_by_label("threshold", exact=True).fill(threshold)
        assert (
            f"Kept: {len(kept)} of {len(captions)}, {sum(kept)} of them noise. "
            f"Lost: {true - kept.count(False)} of {true} true captions."
        ) in page.locator(".explorer").inner_text()


def test_a_press_takes_the_line_or_the_caption_that_is_nearer(chromium):
    captions = gestures.kept()["capfilt"]["data"]["captions"]
    order = sorted(captions, key=lambda one: one["probability"])
    right = next(
        index for index, one in enumerate(captions) if one["noisy"] and one["probability"] > 0.5
    )
    with gestures.explorer_page(chromium, "capfilt") as page:
        root, threshold = page.locator(".explorer"), page.locator(".explorer output")
        said = page.locator(".columns strong")
        gestures.press_at(f"[data-dot='{right}']", 4, -12)(root)
        assert (said.inner_text(), threshold.inner_text()) == (captions[right]["text"], "0.50")
        gestures.press_at("[role=application] svg", 64, -100)(root)  # near neither: the line comes
        assert (said.inner_text(), threshold.inner_text()) == (captions[right]["text"], "0.60")
        page.get_by_label("threshold", exact=True).fill("0.5")
        gestures.drag("[role=application] svg", 64)(root)
        assert threshold.inner_text() == "0.60"
        for key, caption in {"End": order[-1], "Home": order[0]}.items():
            gestures.key("[role=application]", key)(root)
            assert said.inner_text() == caption["text"]


@pytest.fixture
def few_shots(monkeypatch):
    """The few-shot builder's data, of a model whose answer to each prompt is another number."""
    seen, answers = [], {}

    def number(page) -> float:
        return answers.setdefault(tuple(page), (7 * len(answers) % 256) / 255)

    def answer(pages, names):
        return [dict(zip(names, (number(page), 1 - number(page)))) for page in pages]

    monkeypatch.setattr(interactive, "display_widget", lambda *given: seen.append(given))
    explorers.few_shot_builder(answer)
    return seen[0][1][MIME]["data"], answers


@pytest.mark.parametrize(
    "unit, levels, said",
    [
        ("", [0, 0, 0, 0], "It looks at no square: all of its weight is on [CLS]"),
        (
            "",
            [255, 0, 51, 0],
            "Most at row 1, column 1: 50 %; spread evenly, each square would have 15 %. All squares together: 60 %",
        ),
        ("", [102, 102, 102, 82], "Nearly flat"),
        (
            "nats",
            [255, 51, 51, 51],
            "Covering row 1, column 1 costs most. It costs 0.5 nats: the probability of 'cat' falls from .80 to .49; "
            "the likeliest word is then 'dog'.",
        ),
    ],
)
def test_a_map_is_told_in_shares_or_in_its_unit(chromium, unit, levels, said):
    one = {"rows": ["cat"], "what": "test", "rest": "[CLS]", "unit": unit, "shape": [1, 1, 1, 4]}
    one |= {"most": 0.5, "maps": base64.b64encode(bytes(levels)).decode()}
    one |= {"probabilities": [0.8], "instead": ["dog cat cat cat"]} if unit else {}
    blank = picture_address(np.zeros((8, 8, 3), np.uint8))
    data = {"pictures": [blank], "texts": ["a cat"], "models": ["m"], "maps": {"m": [one]}}
    with gestures.explorer_page(chromium, "attention", data) as page:
        assert said in page.locator(".explorer").inner_text()
        assert page.said == []


def test_a_tap_on_a_square_keeps_it_and_nothing_moves_while_words_are_pointed_at(chromium):
    given = {"viewport": {"width": 760, "height": 900}, "has_touch": True}
    with gestures.explorer_page(chromium, "attention", **given) as page:
        root, stage, places = page.locator(".explorer"), page.locator(".stage"), set()
        heads = page.locator("[role=application]:has([data-layer])")
        for index in range(page.locator("[data-row]").count()):
            page.locator(f"[data-row='{index}']").hover(force=True)
            places.add(str([heads.bounding_box(), root.bounding_box()]))
        assert len(places) == 1
        page.locator("[data-patch='5']").tap()
        page.mouse.move(750, 5)
        assert "Square row 2, column 2" in stage.inner_text()
        page.locator("[data-row='2']").tap()
        assert "Square row 2, column 2" in stage.inner_text() and "'picture'" in stage.inner_text()
        page.locator("[data-patch='5']").tap()
        page.mouse.move(750, 5)
        assert "Square row" not in stage.inner_text()


def test_the_chosen_word_stays_for_other_models_and_its_head_for_other_pictures(chromium):
    with gestures.explorer_page(chromium, "attention") as page:
        root, chosen = page.locator(".explorer"), page.locator("[data-row] > [style*='solid var']")
        assert chosen.inner_text() == "a"  # before the noun
        gestures.press("Frozen")(root)
        assert chosen.inner_text() == "train"
        gestures.press("BLIP")(root)
        page.locator("[data-layer='1'][data-head='2']").click()
        page.locator("[data-row='5']").click()
        gestures.click("[data-picture='7']")(root)
        assert "'umbrella', layer 2, head 3." in root.inner_text()
        for act, word in (("Flamingo", "umbrella"), ("covering", "on")):  # read, and to come
            gestures.press(act)(root)
            assert chosen.inner_text() == word
        gestures.press("attention")(root)
        gestures.press("BLIP")(root)
        assert "'umbrella', mean of layers and heads." in root.inner_text()


def test_a_guess_is_made_before_the_map_is_shown_by_mouse_and_by_keys(chromium):
    one = {
        "rows": ["cat", "on"],
        "what": "test",
        "rest": "[CLS]",
        "unit": "",
        "shape": [1, 1, 2, 4],
    }
    one |= {"most": 0.5, "maps": base64.b64encode(bytes([51, 255, 0, 0, 255, 0, 0, 0])).decode()}
    blank = picture_address(np.zeros((8, 8, 3), np.uint8))
    data = {"pictures": [blank], "texts": ["a cat"], "models": ["m"], "maps": {"m": [one]}}
    with gestures.explorer_page(chromium, "attention", data) as page:
        root, picture = page.locator(".explorer"), "[role=application]:has([data-patch])"
        gestures.press("Guess first")(root)
        page.mouse.move(2, 2)
        assert "50 %" not in page.locator(".stage").inner_html()
        gestures.click("[data-patch='0']")(root)
        assert "number 2 of 4." in root.inner_text()
        page.locator("[data-row='1']").hover()
        assert "number 2 of 4." in root.inner_text()  # the verdict is on the word that was guessed
        gestures.press("Guess first")(root)
        for key in ("ArrowRight", "ArrowRight", "Enter"):
            gestures.key(picture, key)(root)
        assert "Your guess is right." in root.inner_text() and page.said == []


def test_a_map_says_what_has_been_read_and_has_one_equal_share(chromium):
    with gestures.explorer_page(chromium, "attention") as page:
        root, stage = page.locator(".explorer"), page.locator(".stage")
        assert "BLIP has read 'a picture of a': where does it look" in stage.inner_text()
        for model in gestures.kept()["attention"]["data"]["models"]:
            gestures.press(model)(root)
            shares = re.findall(r"(\d+) %: spread evenly", stage.inner_text())
            told = re.findall(r"spread evenly, each square would have (\d+) %", stage.inner_text())
            assert shares == told and len(told) == (model != "Frozen"), model


def test_a_map_without_weight_isn_t_blue_and_keys_take_and_leave_squares(chromium):
    one = {"rows": ["cat"], "what": "test", "rest": "[CLS]", "unit": "", "shape": [1, 1, 1, 4]}
    one |= {"most": 1e-9, "maps": base64.b64encode(bytes(4)).decode()}
    blank = picture_address(np.zeros((8, 8, 3), np.uint8))
    data = {"pictures": [blank], "texts": ["a cat"], "models": ["m"], "maps": {"m": [one]}}
    with gestures.explorer_page(chromium, "attention", data) as page:
        root, picture = page.locator(".explorer"), "[role=application]:has([data-patch])"
        blue = page.locator("[data-patch]").evaluate_all(
            "all => all.map(one => +one.getAttribute('fill-opacity'))"
        )
        assert blue == [0] * 4 and "at no square" in root.inner_text()
        for key, said in (("ArrowRight", "1"), ("ArrowRight", "2"), ("Escape", ""), ("Enter", "")):
            gestures.key(picture, key)(root)
            told = re.search(r"Square row 1, column (\d)", page.locator(".stage").inner_text())
            assert (told[1] if told else "") == said, key


def test_the_trained_scale_is_shown_exactly_and_can_be_had_again(chromium):
    with gestures.explorer_page(chromium, "clip") as page:
        trained = gestures.kept()["clip"]["data"]["scale"]
        said, scale = (
            page.locator(".explorer output").first,
            page.locator("input[type=range]").first,
        )
        for acts in ([], ["ArrowRight", "ArrowLeft"]):
            for act in acts:
                scale.press(act)
            assert said.inner_text().startswith(f"{trained:.1f}, as trained"), acts
        scale.press("ArrowRight")
        assert "as trained" not in said.inner_text()
        gestures.press("As trained")(page.locator(".explorer"))
        assert "as trained" in said.inner_text()


def test_the_browser_writes_the_course_s_prompts_and_finds_their_answers(chromium, few_shots):
    data, answers = few_shots
    pictures = [(one["word"], one["number"]) for one in data["pictures"]]
    prompts = [([], 3), ([(4, "blicket")], 0), ([(5, "dax"), (1, "blicket")], 2)]
    with gestures.explorer_page(chromium, "few_shot", data) as page:
        root = page.locator(".explorer")
        for examples, query in prompts:
            gestures.press("No examples")(root)
            for place, (picture, name) in enumerate(examples):
                gestures.drop(f"[data-picture='{picture}']", f"[data-place='{place}']")(root)
                page.get_by_label(f"name in example {place + 1}").select_option(name)
            gestures.drop(f"[data-picture='{query}']", "[data-place='2']")(root)
            told, word = root.inner_text(), pictures[query][0]
            strange = examples and all(pictures[one][0] != word for one, _ in examples)
            assert (f"No example shows the asked thing ({word})" in told) == bool(strange)
            assert ("No example has the name" in told) == (len(examples) == 1)
            parts = few_shot.prompt(
                [(pictures[picture], name) for picture, name in examples], pictures[query]
            )
            words = page_text(parts, IMAGE_TEXT, END_OF_CHUNK).split()
            numbers = phi(torch.tensor([word == "<image>" for word in words])).tolist()
            read = page.locator("[data-word]").evaluate_all(
                "all => all.map(one => [one.firstChild.textContent, +one.dataset.phi])"
            )
            assert read == [list(pair) for pair in zip(words, numbers)]
            for name, pages in {"answer": parts, "blind": few_shot.without_support(parts)}.items():
                label = page.locator(f"[data-{name}=dax] text").last.text_content()
                assert float(label) == pytest.approx(answers[tuple(pages)], abs=0.005)


def test_a_finger_drags_a_picture_into_the_prompt_and_out_of_it(chromium, few_shots):
    with gestures.explorer_page(chromium, "few_shot", few_shots[0], has_touch=True) as page:
        touch = page.context.new_cdp_session(page)

        def finger(start, end) -> None:
            for kind, places in (("Start", [start]), ("Move", [end]), ("Move", [end]), ("End", [])):
                page.wait_for_timeout(100)  # a tap after a fling would only stop it
                points = [{"x": x, "y": y} for x, y in places]
                touch.send(
                    "Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points}
                )

        def middle(selector):
            box = page.locator(selector).bounding_box()
            return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

        def holds(what: str) -> None:
            page.locator(f"[data-place='0'][aria-label*='{what}']").wait_for(timeout=5000)

        finger(middle("[data-picture='4']"), middle("[data-place='0']"))
        holds("car on")
        x, y = middle("[data-place='0']")
        for away in ((x, 5), (900, y)):  # scrolling, and a slip of the finger
            finger((x, y), away)
            holds("car on")
        page.touchscreen.tap(*middle("[data-key='take-0']"))
        holds("empty")
        page.touchscreen.tap(*middle("[data-picture='2']"))
        holds("dog on")


def test_the_frame_stays_where_it_was_put_and_a_single_name_is_exchanged(chromium, few_shots):
    with gestures.explorer_page(chromium, "few_shot", few_shots[0]) as page:
        root = page.locator(".explorer")

        def stands() -> list[bool]:
            framed = page.locator("[data-place]").evaluate_all(
                "all => all.map(one => one.getAttribute('aria-pressed') === 'true')"
            )
            empty = page.locator("[data-place][aria-label*=empty]").count()
            return framed, empty

        gestures.press("take example 2 away")(root)
        gestures.click("[data-place='2']")(root)
        for picture in (2, 3):
            gestures.click(f"[data-picture='{picture}']")(root)
            assert stands() == ([False, False, True], 1)
        for name in ("blicket", "dax"):
            gestures.press("Exchange the names")(root)
            assert page.get_by_label("name in example 1").input_value() == name
        gestures.press("No examples")(root)
        assert page.get_by_role("button", name="Exchange the names").is_disabled()
        for framed, empty in (([False, True, False], 1), ([False, True, False], 0)):
            gestures.click("[data-picture='4']")(root)
            assert stands() == (framed, empty)


def test_a_shorter_text_is_drawn_while_the_pointer_rests_where_the_longer_one_was(chromium):
    with gestures.explorer_page(chromium, "masks") as page:
        page.locator('[data-query="6"][data-at="6"]').click()  # the pointer stays here
        typed = page.get_by_label("text", exact=True)
        for text, count in {"one two": 2, "one": 1, "| | |": 3}.items():
            typed.fill(text)
            assert page.locator("[data-may]").count() == count**2, text
        typed.fill("a " * 16)
        assert "16 words" in page.locator(".explorer [role=alert]").inner_text()
        assert page.said == []
