"""Pages with pictures and films, few-shot prompts, and several data sets at once."""

from collections import Counter

import pytest
import torch
from torch import nn

from vlmcourse import recipes, world
from vlmcourse.evaluation import choose_next_token, rank_choices
from vlmcourse.parts.layers import TanhGate
from vlmcourse.recipes.flamingo import SIZES, FeatureCache
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.mixture import JointDatasets, RoundRobinDatasets, WeightedLosses
from vlmcourse.training.scale import Scale
from vlmcourse.world import few_shot, interleaved, pages, tokenizer
from vlmcourse.world.interleaved import PageDataset, WebPages, chunked_prompts

TAG, CLOSE = tokenizer.world_tokenizer().convert_tokens_to_ids(["<image>", "<EOC>"])
WEB = WebPages(pool=64)


def see(films):
    return {"pixel_values": world.prompts.frame_pixels(films, 16)}


@pytest.mark.parametrize("name", ["pages", "pairs", "described", "videos"])
def test_each_page_has_a_tag_for_each_picture_and_closes_its_chunks(name):
    batch = PageDataset(getattr(WEB, name), see).batch(range(24))
    assert int((batch["ids"] == TAG).sum()) == len(batch["pixel_values"])
    for index in range(24):
        text = interleaved.interleaved_text(getattr(WEB, name)(index))
        assert text.endswith("<EOC>") and text.count("<image>") - 1 <= text.count("<EOC>") - 1
        assert all(
            before.strip().endswith("<EOC>")
            for before in text.split("<image>")[:-1]
            if before.strip()
        )
    assert getattr(WEB, name)(5) == getattr(WebPages(pool=64), name)(5) and getattr(WEB, name)(
        5
    ) != getattr(WEB, name)(6)


def test_words_are_scored_and_tags_padding_and_the_beginning_are_not():
    batch = PageDataset(WEB.pages, see).batch(range(8))
    given = (batch["ids"] == TAG) | (batch["ids"] == CLOSE) | (batch["ids"] <= tokenizer.EOS)
    stops = torch.zeros_like(given)
    stops[:, 1:] = batch["ids"][:, :-1] == TAG
    assert set(batch["ids"][stops].tolist()) == {tokenizer.encode(["."])[0, 1].item()}
    given |= stops
    assert torch.equal(batch["loss_mask"], ~given) and batch["loss_mask"].any(1).all()


def test_the_four_sources_are_what_they_say():
    films = [WEB.videos(index) for index in range(16)]
    assert all(len(film.frames) == 8 and film.mover in said for film, said in films)
    batch = PageDataset(WEB.videos, see).batch(range(3))
    assert batch["pixel_values"].shape == (3, 8, 3, 16, 16)
    described = [WEB.described(index) for index in range(32)]
    assert sum(len(text.split()) for _, text in described) > 1.3 * sum(
        len(WEB.pairs(index)[1].split()) for index in range(32)
    )
    assert all(all(word in text for word in scene.words) for scene, text in described)
    alone = [
        (scene, text) for scene, text in map(WEB.described, range(200)) if len(scene.things) == 1
    ]
    at_once = sum(text.startswith(scene.words[0]) for scene, text in alone)
    assert 0.35 < at_once / len(alone) < 0.65  # half begin with the thing's word
    asked = Counter(
        text.split(" answer")[0]
        for index in range(300)
        for text in WEB.questions(index, WEB.rng("pages", index))[1::2]
    )
    assert not any("for" in text.split() for text in asked)  # nobody asks what a thing is for
    wrong = sum(
        not any(word in text for word in scene.words) for scene, text in map(WEB.pairs, range(400))
    )
    assert 10 <= wrong <= 70  # one in ten belongs elsewhere
    pictures = Counter(len(world.pages.pictures_of(WEB.pages(index))) for index in range(200))
    assert max(pictures) >= 4 and min(pictures) >= 1


def test_names_mean_the_same_on_a_page_and_nothing_beyond_it():
    meanings = set()
    for index in range(60):
        page = WEB.names(index, WEB.rng("pages", index))
        named = {}
        for scene, text in zip(page[::2], page[1::2]):
            name = next(word for word in text.split() if word in tokenizer.INVENTED)
            assert named.setdefault(name, scene.words) == scene.words
        assert 2 <= len(named) <= 4 and len(set(named.values())) == len(named)
        meanings |= set(named.items())
    assert len({name for name, _ in meanings}) < len(meanings)


def test_a_smaller_world_shows_its_words_alone():
    words = world.known_nouns()[:8]
    small, test = WebPages(pool=64, noun_subset=words), WebPages("test", pool=64, noun_subset=words)
    for web in (small, test):
        for index in range(24):
            for name in ("pages", "pairs", "described", "videos"):
                for frames in world.prompts.frames_of([getattr(web, name)(index)]):
                    assert set(frames[0].words) <= set(words)
                    if name != "videos":
                        assert world.split_of(frames[0].words, frames[0].background) == web.split
    assert set(
        pages.pictures_of(few_shot.binding_episode("test", 0, 4, noun_subset=words).prompt)[0].words
    ) <= set(words)


def test_solved_questions_are_of_one_kind_and_end_open():
    one = few_shot.question_episode(WebPages("test"), 3, "category", 4)
    assert (
        len(pages.pictures_of(one.prompt)) == 5
        and one.answer in one.choices
        and one.prompt[-1].endswith("answer :")
    )
    assert all(
        text.startswith("question : what kind of thing") and text.endswith(" .")
        for text in one.prompt[1:-2:2]
    )


def test_pictures_move_before_the_text_that_precedes_them():
    one, two = world.sample("train", 0), world.sample("train", 1)
    assert interleaved.pictures_first(("a", one, "b", two)) == (one, "a", two, "b")
    assert interleaved.pictures_first((one, "a", two, "b")) == (one, two, "a", "b")


def test_prompts_stay_open_and_are_padded_on_the_left():
    scene = world.sample("test", 0)
    batch = chunked_prompts([(scene, "a picture of"), (scene, "a cat .", scene, "a")], 16).batch(
        [0, 1]
    )
    assert (
        not batch["padding_mask"][0, 0]
        and batch["padding_mask"][1].all()
        and batch["padding_mask"][:, -1].all()
    )
    last = tokenizer.world_tokenizer().convert_ids_to_tokens(batch["ids"][:, -1].tolist())
    assert (
        last == ["of", "a"]
        and (batch["ids"][1] == CLOSE).sum() == 1
        and len(batch["pixel_values"]) == 3
    )


def test_a_prompt_by_hand_needs_a_picture_for_each_tag_outside_of_words():
    one, two = world.sample("test", 0), world.sample("test", 1)
    assert interleaved.parse_page("<image> a cat .<EOC><image> a", [one, two]) == (
        one,
        "a cat .",
        two,
        "a",
    )
    assert interleaved.parse_page(interleaved.interleaved_text((one, "a")), [one]) == (one, "a")
    for text, count in (("<image> a", 2), ("<image> <image> a", 1)):
        with pytest.raises(
            ValueError,
            match=f"{text.count('<image>')} times <image> in the text, and {count} pictures",
        ):
            interleaved.parse_page(text, [one, two][:count])
    with pytest.raises(
        ValueError, match="a tag in the middle of a word: 'do<image>g'.*spaces around"
    ):
        interleaved.parse_page("a do<image>g runs", [one])


def test_more_shots_ask_the_same_question_and_exchanged_pictures_say_nothing():
    few, many = few_shot.binding_episode("test", 3, 2), few_shot.binding_episode("test", 3, 8)
    assert (
        few.answer == many.answer
        and few.prompt[-2:] == many.prompt[-2:]
        and few.prompt == many.prompt[-len(few.prompt) :]
    )
    said = [text.split()[-2] for text in many.prompt[1:-1:2]]
    assert Counter(said) == {name: 2 for name in many.choices}
    episodes = [few_shot.binding_episode("test", index, 4) for index in range(40)]

    def told(made):
        """Does an example that shows what is asked bear the right name?"""
        pairs = [(scene, text) for scene, text in zip(made.prompt[::2], made.prompt[1::2])]
        return any(
            made.answer in text for scene, text in pairs[:-1] if scene.words == pairs[-1][0].words
        )

    assert all(told(one) for one in episodes)
    exchanged = few_shot.other_pictures(episodes)
    assert sum(told(one) for one in exchanged) <= 2
    assert [one.prompt[1::2] for one in exchanged] == [one.prompt[1::2] for one in episodes]
    assert all(one.prompt[-2] == other.prompt[-2] for one, other in zip(episodes, exchanged))


def test_the_nearest_examples_stand_last():
    pool = torch.tensor([[1.0, 0], [0.9, 0.1], [0, 1], [-1, 0]])
    assert few_shot.retrieve_nearest(torch.tensor([[2.0, 0.0], [0.0, 3.0]]), pool, 2).tolist() == [
        [1, 0],
        [1, 2],
    ]


class Toy(nn.Module):
    """Two parameters, one gate."""

    def __init__(self):
        super().__init__()
        self.weight, self.gate = nn.Parameter(torch.ones(2)), TanhGate()

    def losses(self, batch):
        return {"text": (self.weight * batch["x"]).sum() ** 2 + self.gate(batch["x"].sum())}


class Numbers:
    def __init__(self, scale):
        self.scale = scale

    def batch(self, indices):
        return {"x": self.scale * torch.tensor([float(sum(indices)), 1.0])}


def test_accumulated_gradients_are_the_gradient_of_the_weighted_sum():
    data, weights = {"a": (Numbers(1.0), 2), "b": (Numbers(0.5), 1)}, {"a": 1.0, "b": 0.2}
    toy = Toy()
    batch = JointDatasets(data).batch([3])
    assert batch["a"]["x"].tolist() == [13.0, 1.0] and batch["b"]["x"].tolist() == [1.5, 0.5]
    sum(WeightedLosses(toy, weights, 1).losses(batch).values()).backward()
    together, apart = toy.weight.grad.clone(), torch.zeros(2)
    for name, part in batch.items():
        toy.zero_grad()
        toy.losses(part)["text"].backward()
        apart += weights[name] * toy.weight.grad
    torch.testing.assert_close(together, apart)
    with pytest.raises(ValueError, match="data sets b have no weight"):
        WeightedLosses(toy, {"a": 1.0}, 1).losses(batch)


def test_round_robin_takes_turns_and_leaves_out_no_example():
    mixture = RoundRobinDatasets({"a": (Numbers(1.0), 2), "b": (Numbers(1.0), 1)}, batch_size=1)
    taken = [next(iter(mixture.batch([step]).items())) for step in range(6)]
    assert [name for name, _ in taken] == ["a", "b"] * 3
    assert [int(part["x"][0]) for _, part in taken] == [0 + 1, 0, 2 + 3, 1, 4 + 5, 2]


def test_the_way_of_the_gates_is_kept_with_the_model():
    mixed = WeightedLosses(Toy(), {"a": 1.0}, 5)
    steps = list(
        fit(
            mixed,
            Batches(JointDatasets({"a": (Numbers(1.0), 1)}).batch, 1),
            5,
            precision=torch.float32,
        )
    )
    trace = mixed.gates_by_step()["gate"]
    assert (
        len(trace) == len(steps) == 5
        and trace[-1] == pytest.approx(mixed.model.gate.value.item())
        and len(set(trace)) == 5
    )
    again = WeightedLosses(Toy(), {"a": 1.0}, 5)
    again.load_state_dict(mixed.state_dict())
    assert again.gates_by_step() == mixed.gates_by_step()


def test_what_a_tower_saw_is_kept():
    calls = []

    class Counting(nn.Module):
        def forward(self, pixel_values):
            calls.append(len(pixel_values))
            return pixel_values.flatten(2).transpose(1, 2)[:, :4]

    kept = FeatureCache(Counting(), 16)
    one, two = world.sample("train", 0), world.sample("train", 1)
    first = kept([(one,), (two,), (one,)])["features"]
    assert first.shape == (3, 1, 4, 3) and calls == [2] and torch.equal(first[0], first[2])
    mixed = kept([(one,), (one, two)])["features"]
    assert calls == [2] and [len(film) for film in mixed] == [1, 2]
    torch.testing.assert_close(
        first[:2, 0],
        Counting()(world.prompts.frame_pixels([(one,), (two,)], 16)),
        atol=1e-3,
        rtol=1e-3,
    )


def test_the_recipe_trains_keeps_and_reports_near_chance(tmp_path, monkeypatch):
    monkeypatch.setenv("VLMCOURSE_CACHE", str(tmp_path))  # nobody trained it before
    made = recipes.get("flamingo").train_or_load("smoke")
    again = recipes.get("flamingo").train_or_load("smoke")
    assert (
        not made.loaded
        and again.loaded
        and again.model.gates_by_step() == made.model.gates_by_step()
    )
    assert len(next(iter(made.model.gates_by_step().values()))) == SIZES["smoke"].steps
    assert {"pages", "pairs", "described", "videos"} == set(made.history[0].losses)
    model, size = made.model.model, Scale.of("smoke").image_size
    lm = recipes.get("language").train_or_load("smoke").model.lm
    assert all(
        torch.equal(value, lm.state_dict()[name]) for name, value in model.lm.state_dict().items()
    )
    report = recipes.flamingo.flamingo_report(model, size, 16)
    assert report["captions"]["noun"] < 0.4 and set(report["shots"]) == {0, 1, 2, 4, 8}
    assert report["motion"]["chance"] == 0.25 and all(
        0 <= value <= 1 for value in report["motion"].values()
    )


def test_films_of_different_lengths_can_be_asked_about():
    model = recipes.get("flamingo").train_or_load("smoke").model.model
    film, episode = few_shot.motion_episodes(WebPages("test"), 1)[0]
    pages = [episode.prompt, (world.sample("test", 0), *episode.prompt[1:])]
    assert all(
        word in episode.choices
        for word in choose_next_token(model, chunked_prompts(pages, 32), [episode.choices] * 2)
    )
    films = [
        episode.prompt for _, episode in few_shot.motion_episodes(WebPages("test"), 2)
    ]  # ranked by likelihood, one word each: the same
    assert rank_choices(
        model, chunked_prompts(films, 32), [episode.choices] * 2
    ) == choose_next_token(model, chunked_prompts(films, 32), [episode.choices] * 2)
