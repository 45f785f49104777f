"""Probes: pictures with habits, questions about what is not there, spoilt prompts; their scores, against explicit counts."""

from collections import Counter

import pytest
import torch

from vlmcourse import world
from vlmcourse.evaluation import hallucination, prompting
from vlmcourse.world import co_occurrence, corruptions, few_shot, pages, prompts, tokenizer
from vlmcourse.world.digits import Sign
from vlmcourse.world.scenes import Scene, held_out, split_of

DATA = co_occurrence.BiasedPairs(32, 0)


def asked(count=6, examples=3, kind="category"):
    return [
        pages.vqa_episode("test", index, kind, examples, things=(1, 1)) for index in range(count)
    ]


def texts(episode):
    return [part for part in episode.prompt if isinstance(part, str)]


def test_habits_are_habits_and_show_nothing_that_is_held_out():
    pictures = [DATA.scene(index) for index in range(3000)]
    scenes = [one for one in pictures if isinstance(one, Scene)]
    assert all(split_of(one.words, one.background) == "train" for one in scenes)
    counts = Counter(word for one in scenes for word in one.words)
    often = sum(counts[word] for word in co_occurrence.popular_nouns()) / len(
        co_occurrence.popular_nouns()
    )
    others = [count for word, count in counts.items() if word not in co_occurrence.popular_nouns()]
    assert often > 2.5 * sum(others) / len(others)
    pairs = [one for one in scenes if len(one.things) == 2]
    words = [one.words for one in pairs]
    together = sum(
        co_occurrence.companion(one) == other or co_occurrence.companion(other) == one
        for one, other in words
    )
    assert 0.4 < together / len(pairs) < 0.75
    assert all(
        not held_out((word, co_occurrence.companion(word)), "white") for word in world.known_nouns()
    )
    assert 0.03 < (3000 - len(scenes)) / 3000 < 0.07
    assert (
        DATA.scene(7)
        == co_occurrence.BiasedPairs(32, 0).scene(7)
        != co_occurrence.BiasedPairs(32, 1).scene(7)
    )


def test_captions_tell_their_pictures_and_are_known_words():
    assert (tokenizer.encode([DATA.text(index) for index in range(300)]) != tokenizer.UNKNOWN).all()
    for index in range(300):
        picture, said = DATA.scene(index), DATA.text(index).split()
        if isinstance(picture, Sign):
            assert " ".join(said).startswith(f"the number {picture.number} on")
        else:
            assert picture.things[0].word in said and (
                len(picture.things) == 1 or picture.things[1].word in said
            )
    assert DATA.images([0, 1]).shape == (2, 32, 32, 3)


def test_open_pages_are_written_with_places_and_ends_and_shown_in_order():
    sign = world.digits.sign("test", 3)
    one, page = world.sample("test", 0), None
    page = (one, "a cat .", sign, "the number")
    data = prompts.Prompts([page, ("a cat",)], 32, "<image> <image> .", end_of_chunk="<EOC>")
    assert (
        pages.page_text(page, data.image_prefix, "<EOC>")
        == "<image> <image> . a cat . <EOC> <image> <image> . the number"
    )
    made = data.batch([0, 1])
    assert made["pixel_values"].shape[0] == 2 and made["padding_mask"].sum(1).tolist() == [13, 3]
    torch.testing.assert_close(made["pixel_values"][1:], world.to_pixels(sign.render(32)[None]))
    assert prompts.Prompts([("a cat",)], 32).batch([0])["pixel_values"].shape == (
        0,
        3,
        32,
        32,
    )


@pytest.mark.parametrize("name", corruptions.ABSENT)
def test_presence_asks_as_often_for_what_is_there_as_for_what_is_not(name):
    made = corruptions.presence_questions(corruptions.ABSENT[name], 40)
    assert Counter(one.answer for one in made) == {"yes": 40, "no": 40}
    for one in made:
        word = one.prompt[1].split(" ?")[0].split()[-1]
        assert (word in one.prompt[0].words) == (one.answer == "yes")
    absent = [
        (one.prompt[0], one.prompt[1].split(" ?")[0].split()[-1])
        for one in made
        if one.answer == "no"
    ]
    if name == "popular":
        assert {word for _, word in absent} <= set(co_occurrence.popular_nouns())
    beside = sum(
        word in {co_occurrence.companion(shown) for shown in scene.words} for scene, word in absent
    )
    assert beside >= 38 if name == "adversarial" else beside <= 10
    first = [one for one in made if one.answer == "yes"]
    assert first == [
        one
        for one in corruptions.presence_questions(corruptions.random_noun, 40)
        if one.answer == "yes"
    ]


def test_captions_to_choose_from_have_the_same_words_bound_otherwise():
    made = corruptions.caption_questions(world.minimal_pairs.swap_positions, 20)
    for one, other in (each.choices for each in made):
        assert sorted(one.split()) == sorted(other.split()) and one != other
    assert 4 < sum(one.choices[0] == one.answer for one in made) < 16


def test_sums_are_right_on_signs_and_in_words():
    made = corruptions.digit_sums(12, 2)
    for one, told in zip(made, corruptions.sums_as_text(made)):
        numbers = [part.number for part in one.prompt if isinstance(part, Sign)]
        given = [int(text.split()[1]) for text in texts(one)[:-1]] + [int(one.answer)]
        assert [sum(map(int, number.split())) for number in numbers] == given
        assert (
            told.prompt[0].endswith(" + ".join(numbers[-1].split()) + " =")
            and len(told.prompt) == 1
        )


def test_each_way_to_spoil_a_prompt_changes_what_it_says_and_nothing_else():
    before = asked()
    spoilt = {name: change(before) for name, change in corruptions.CORRUPTIONS.items()}
    for name, after in spoilt.items():
        assert (after == before) == (name == "as they are")
        for old, new in zip(before, after):
            assert (new.answer, new.choices, new.prompt[-1]) == (
                old.answer,
                old.choices,
                old.prompt[-1],
            )
            assert (new.prompt[-2] == old.prompt[-2]) == (name != "the question's picture grey")
            kept = texts(new) == texts(old)
            assert kept == (name not in ("wrong answers", "no examples")), name
    assert all(len(one.prompt) == 2 for one in spoilt["no examples"])
    for old, new in zip(before, spoilt["pictures swapped"]):
        assert sorted(map(str, pages.pictures_of(old.prompt))) == sorted(
            map(str, pages.pictures_of(new.prompt))
        )
    for old, new in zip(before, spoilt["wrong answers"]):
        assert all(
            mine.split()[-2] != his.split()[-2]
            for mine, his in zip(texts(new)[:-1], texts(old)[:-1])
        )
        assert pages.pictures_of(old.prompt) == pages.pictures_of(new.prompt)
    assert all(
        one.prompt[0] == corruptions.BLANK and one.prompt[-2] != corruptions.BLANK
        for one in spoilt["grey pictures"]
    )
    names = [few_shot.binding_episode("test", index, 4) for index in range(8)]
    for new in corruptions.wrong_labels(names):
        assert all(
            text.split()[-2] in new.choices and text.startswith("this is a")
            for text in texts(new)[:-1]
        )


def test_orders_and_lent_examples_keep_the_question():
    before = asked(5, 3)
    ways = corruptions.example_orders(before)
    assert len(ways) == 6 and ways[0] == before and len({str(way[0].prompt) for way in ways}) == 6
    assert all(
        sorted(texts(one)) == sorted(texts(old)) and one.prompt[-2:] == old.prompt[-2:]
        for way in ways
        for one, old in zip(way, before)
    )
    assert len(corruptions.example_orders(asked(2, 6), max_orders=10)) == 10
    borrowed = corruptions.other_examples(before, 3)
    assert borrowed[0] == before and borrowed[1][0].prompt[:-2] == before[1].prompt[:-2]
    assert all(
        one.prompt[-2:] == old.prompt[-2:] for way in borrowed for one, old in zip(way, before)
    )


def test_what_cannot_be_spoilt_is_refused_with_a_reason():
    with pytest.raises(ValueError, match="don't take turns"):
        corruptions.split_prompt(pages.naming_episode("test", 0))
    with pytest.raises(ValueError, match="the same number in all"):
        corruptions.example_orders([*asked(1, 2), *asked(1, 3)])
    with pytest.raises(ValueError, match="ends with none of the answers"):
        corruptions.wrong_labels(asked(1, 2, "where"))
    with pytest.raises(ValueError, match="fewer choices than episodes"):
        corruptions.other_examples(asked(2), 2)
    with pytest.raises(ValueError, match="expected as many"):
        hallucination.yes_no_scores(["yes"], ["cat"])


def test_yes_and_no_are_scored_as_pope_does():
    answers = ["yes"] * 5 + ["no"] * 5
    said = ["yes"] * 4 + ["no"] + ["yes"] * 2 + ["no"] * 3
    from sklearn.metrics import f1_score, precision_score, recall_score

    found = hallucination.yes_no_scores(said, answers)
    assert found.accuracy == 0.7 and found.yes == 0.6
    assert found.precision == pytest.approx(precision_score(answers, said, pos_label="yes"))
    assert found.recall == pytest.approx(recall_score(answers, said, pos_label="yes"))
    assert found.f1 == pytest.approx(f1_score(answers, said, pos_label="yes"))
    always = hallucination.yes_no_scores(["yes"] * 10, answers)
    assert (always.accuracy, always.recall, always.yes) == (
        0.5,
        1,
        1,
    ) and always.f1 == pytest.approx(2 / 3)
    assert hallucination.yes_no_scores(["no"] * 10, answers) == hallucination.YesNoScores(
        0.5, 0.0, 0.0, 0.0, 0.0
    )


def test_a_system_that_guesses_by_habit_is_caught_by_adversarial_questions():
    """It sees the first thing of a scene and believes in its companion."""

    def guesser(episodes):
        said = []
        for one in episodes:
            word, seen = one.prompt[1].split(" ?")[0].split()[-1], one.prompt[0].words[0]
            said.append("yes" if word in (seen, co_occurrence.companion(seen)) else "no")
        return said

    found = hallucination.hallucination_scores(guesser, 60)
    assert found["random"].accuracy > found["adversarial"].accuracy + 0.1
    assert (
        found["adversarial"].yes > found["random"].yes + 0.1
        and found["random"].recall == found["popular"].recall
    )


def test_invented_things_of_captions_are_counted():
    scenes = [Scene(world.sample("test", index, 0, (1, 1)).things, "blue") for index in range(4)]
    word = [scene.words[0] for scene in scenes]
    other = next(noun for noun in world.known_nouns() if noun not in word)
    found = hallucination.hallucinated_nouns(
        [f"a {word[0]} on blue", f"a {word[1]} and a {other}", "on blue", f"a {other}"], scenes
    )
    assert found == {"of things named": 2 / 4, "of captions": 2 / 4}
    assert hallucination.hallucinated_nouns([""], scenes[:1]) == {
        "of things named": 0.0,
        "of captions": 0.0,
    }


def test_sensitivity_counts_flips_and_the_spread_between_ways():
    episodes = asked(4)
    ways = [episodes] * 3
    turn = iter(
        [
            ["right", "right", "no", "no"],
            ["right", "no", "right", "no"],
            ["right", "right", "right", "no"],
        ]
    )

    def answer(these):
        return [one.answer if said == "right" else "" for one, said in zip(these, next(turn))]

    found = prompting.sensitivity(answer, ways)
    assert found.scores == (0.5, 0.5, 0.75) and found.flips == 0.5
    assert found.spread == 0.25 and found.mean == pytest.approx(7 / 12)


def test_bars_that_need_no_picture():
    episodes = asked(30, 0, "presence")
    assert prompting.chance_accuracy(episodes) == 0.5
    assert (
        prompting.majority_accuracy(episodes)
        == max(Counter(one.answer for one in episodes).values()) / 30
    )
    assert (
        prompting.majority_accuracy(
            corruptions.caption_questions(world.minimal_pairs.swap_positions, 6)
        )
        == 0.5
    )  # each has choices of its own
    assert prompting.accuracy_by_shots(
        lambda these: [one.answer for one in these], lambda n: asked(2, n), (0, 2)
    ) == {0: 1.0, 2: 1.0}
    assert set(
        prompting.corrupted_example_accuracy(lambda these: [""] * len(these), asked(3)).values()
    ) == {0.0}
