"""Questions, statements, dialogues, films, pages, episodes and signs: their answers are true, balanced and unseen."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlmcourse import world
from vlmcourse.world import (
    dialogues,
    digits,
    documents,
    pages,
    prompts,
    questions,
    statements,
    tokenizer,
    videos,
)
from vlmcourse.world.scenes import Scene, SeededRandom, Thing, held_out, novel_nouns, sample

indices = st.integers(0, 10**6)


def readable(texts) -> None:
    """Every word is in the vocabulary: encode raises for one that is not."""
    assert tokenizer.encode(list(texts)).shape[0] == len(texts)


def two_things() -> Scene:
    return Scene((Thing("cat", 0.27, 0.27, 0.4), Thing("apple", 0.73, 0.73, 0.4)), "blue")


@given(indices, st.sampled_from(list(questions.KINDS)))
def test_a_question_is_pure_and_its_answer_is_among_its_kinds(index, kind):
    scene = sample("test", index)
    asked = questions.ask(scene, SeededRandom("ask", index), [kind])
    assert asked == questions.ask(scene, SeededRandom("ask", index), [kind])
    assert asked.kind == kind and asked.answer in questions.answers(kind)


@given(indices)
def test_answers_agree_with_the_scene(index):
    scene, draws = sample("train", index), SeededRandom(index)
    by_place = {questions.quarter(thing): thing for thing in scene.things}
    assert len(by_place) == len(scene.things)  # 'the thing in the top left' is one thing
    asked = questions.what(scene, draws)
    pointed = [thing for place, thing in by_place.items() if place in asked.text] or list(
        scene.things
    )
    assert [thing.word for thing in pointed] == [asked.answer]
    assert (
        by_place[questions.where(scene, draws).answer].word in questions.where(scene, draws).text
        or len(scene.things) > 1
    )
    asked = questions.presence(scene, draws)
    assert (asked.answer == "yes") == any(f" {word} ?" in asked.text for word in scene.words)
    assert questions.how_many(scene, draws).answer == questions.NUMBERS[len(scene.things)]


def test_positions_are_as_seen():
    for seed in range(60):
        asked = questions.position(two_things(), SeededRandom(seed))
        first, relation = asked.text.split()[2], asked.text.split()[3]
        assert (asked.answer == "yes") == ((relation in ("left", "above")) == (first == "cat")), (
            asked
        )


@pytest.mark.parametrize("kind", ["presence", "position"])
def test_yes_is_said_as_often_as_no(kind):
    found = Counter(
        questions.VQAPairs(world.Pairs("train"), (kind,)).question(index).answer
        for index in range(1000)
    )
    assert 0.45 < found["yes"] / 1000 < 0.55


def test_knowledge_is_not_in_the_question():
    """A question that names the thing could be answered without looking."""
    for index in range(300):
        scene = sample("test", index)
        for kind in questions.KNOWLEDGE_KINDS:
            assert not set(scene.words) & set(
                questions.ask(scene, SeededRandom(index), [kind]).text.split()
            )


def test_questions_in_batches_have_words_we_know():
    asked = questions.VQAPairs(world.Pairs("train"))
    batch = asked.batch(range(400))
    readable(
        [f"{question} {answer}" for question, answer in zip(batch["question"], batch["answer"])]
    )
    assert batch["pixel_values"].shape == (400, 3, 64, 64) and set(batch["kind"]) == set(
        questions.KINDS
    )
    with pytest.raises(ValueError, match="no kind of question 'why'; expected some of what, where"):
        questions.ask(two_things(), SeededRandom(0), ["why"])


def holds(one: statements.Statement) -> bool:
    """The statement's truth, from its words and the scenes alone."""
    words = one.text.split()
    scenes = {"left": one.left, "right": one.right}
    if words[0] == "both":
        return all(
            any(thing.noun.category == words[-1] for thing in scene.things)
            for scene in scenes.values()
        )
    if "more" in words:
        other = {"left": "right", "right": "left"}[words[1]]
        return len(scenes[words[1]].things) > len(scenes[other].things)
    if words[1] == "is":
        return words[3] in scenes[words[-2]].words
    total = (*questions.NUMBERS, "five", "six", "seven", "eight").index(words[2])
    return total == len(one.left.things) + len(one.right.things)


def test_statements_are_what_they_claim_and_balanced_in_each_form():
    made = [statements.statement("test", index) for index in range(600)]
    assert all(holds(one) == one.true for one in made)
    for form in ("both", "there is", "the", "there are"):
        of_form = [one.true for one in made if one.text.startswith(form)]
        assert len(of_form) > 100 and 0.4 < np.mean(of_form) < 0.6, form
    readable([one.text for one in made])


@given(indices)
def test_a_dialogue_ranks_one_right_answer_among_a_hundred(index):
    spoken = dialogues.dialogue(sample("test", index), SeededRandom("dialogue", index))
    for one in spoken.rounds:
        assert (
            len(set(one.candidates)) == dialogues.CANDIDATES
            and one.candidates[one.right] == one.question.answer
        )
    assert (
        len(spoken.rounds) == 5
        and spoken.history(2).count("?") == 2
        and spoken.history(0) == spoken.caption
    )


def test_some_questions_of_a_dialogue_need_its_history():
    spoken = [
        dialogues.dialogue(sample("train", index), SeededRandom(index)) for index in range(100)
    ]
    rounds = [(one, number) for one in spoken for number in range(5)]
    back = [
        (one, number) for one, number in rounds if "it" in one.rounds[number].question.text.split()
    ]
    assert 0.15 < len(back) / len(rounds) < 0.5
    assert all(
        number > 0 and one.rounds[number].question.about == one.rounds[number - 1].question.about
        for one, number in back
    )
    readable([f"{one.history(5)}" for one in spoken])
    readable(spoken[0].rounds[0].candidates)
    places = np.array([one.rounds[0].right for one in spoken])
    assert places.std() > 20  # the right answer has no habitual place


def test_a_film_moves_one_thing_and_no_frame_tells_where():
    for index in range(40):
        made = videos.make_video(sample("train", index), SeededRandom(index))
        first, last = made.frames[0], made.frames[-1]
        moved = [
            (a.word, b.x - a.x, b.y - a.y)
            for a, b in zip(first.things, last.things)
            if (a.x, a.y) != (b.x, b.y)
        ]
        ((word, x, y),) = moved
        assert word == made.mover
        assert (round(x / 0.3), round(y / 0.3)) == videos.DIRECTIONS[made.direction]
        middle = (
            first.things[first.words.index(word)].x + last.things[first.words.index(word)].x
        ) / 2
        assert abs(middle - sample("train", index).things[first.words.index(word)].x) < 1e-6
    assert (
        made.render(32).shape == (8, 32, 32, 3)
        and (made.render(32)[0] != made.render(32)[-1]).any()
    )
    readable([made.caption, *(f"{one.text} {one.answer}" for one in made.questions())])
    with pytest.raises(ValueError, match="a film of 1 frames; expected at least 2"):
        videos.make_video(two_things(), SeededRandom(0), frames=1)


def test_pages_are_tagged_as_flamingo_reads_them():
    scene = two_things()
    assert (
        pages.page_text(("hello .", scene, "a cat .", scene), end_of_chunk="<EOC>") + " <EOC>"
        == "hello . <EOC> <image> a cat . <EOC> <image> <EOC>"
    )
    assert pages.page_text((scene, "a cat .")) == "<image> a cat ."
    made = [pages.page("train", index) for index in range(200)]
    assert all(isinstance(page[0], str) for page in made)  # text before the first picture
    before = np.mean([page[2] == page[-1] or isinstance(page[2], Scene) for page in made])
    assert 0.3 < before < 0.7
    assert {len(pages.pictures_of(page)) for page in made} == {1, 2, 3, 4, 5}
    assert all(
        pages.page_text(page).count("<image>") == len(pages.pictures_of(page)) for page in made
    )
    readable([pages.page_text(page) for page in made])


@pytest.mark.parametrize("split", ["train", "test", "novel"])
def test_naming_binds_each_name_to_one_thing(split):
    for index in range(30):
        one = pages.naming_episode(split, index, ways=3, shots=2, repeats=1)
        shown = [
            (part.words[0], one.prompt[place + 1].split()[-2])
            for place, part in enumerate(one.prompt[:-2])
            if isinstance(part, Scene)
        ]
        assert len(shown) == 3 * 2 * 2 and len(set(shown)) == 3 == len({word for word, _ in shown})
        assert dict(shown)[one.prompt[-2].words[0]] == one.answer and one.answer in one.choices
        assert {word in novel_nouns() for word, _ in shown} == {split == "novel"}
        if split != "novel":
            assert all(
                held_out(scene.words, scene.background) == (split == "test")
                for scene in pages.pictures_of(one.prompt)
            )
    assert one.prompt[-2] not in one.prompt[:-2]
    readable([pages.page_text(one.prompt)])
    assert pages.naming_episode("train", 0, induction=False).prompt[0] in pages.pictures_of(
        pages.naming_episode("train", 0, induction=False).prompt
    )
    with pytest.raises(ValueError, match="1 ways, 1 shots"):
        pages.naming_episode("train", 0, ways=1)


def test_every_name_is_asked_for():
    asked = Counter(
        one.choices.index(one.answer)
        for one in (pages.naming_episode("test", index) for index in range(400))
    )
    assert 0.4 < asked[0] / 400 < 0.6


def test_more_examples_stand_before_the_same_question_and_the_same_examples():
    none, two, four = (
        pages.vqa_episode("test", 5, "place", shots, things=(1, 1)) for shots in (0, 2, 4)
    )
    assert (
        none.answer == two.answer
        and two.prompt == four.prompt[4:]
        and none.prompt == two.prompt[4:]
    )
    assert len(pages.pictures_of(four.prompt)) == 5 and all(
        len(scene.things) == 1 for scene in pages.pictures_of(four.prompt)
    )


def test_what_is_learnt_from_is_a_picture_then_words():
    pairs = world.Pairs("train", 16, things=(1, 1))
    batch = prompts.CaptionDataset(pairs, "<image> <image> .").batch([3, 4])
    assert batch["pixel_values"].shape == (2, 3, 16, 16)
    assert [
        tokenizer.decode(ids[loss_mask][None])[0]
        for ids, loss_mask in zip(batch["ids"], batch["loss_mask"])
    ] == [" ".join(tokenizer.split_words(pairs.text(index))) for index in (3, 4)]
    asked = questions.VQAPairs(pairs, ("category", "colour"))
    batch = prompts.VQADataset(asked, "<image> <image> .", prompts.blank_images).batch([3, 4])
    assert [
        tokenizer.decode(ids[loss_mask][None])[0]
        for ids, loss_mask in zip(batch["ids"], batch["loss_mask"])
    ] == [asked.question(index).answer for index in (3, 4)]
    assert (
        not batch["pixel_values"].any()
        and asked.question(3).text in tokenizer.decode(batch["ids"])[0]
    )


def test_few_shot_questions_end_open():
    one = pages.vqa_episode("test", 3, "colour", shots=4)
    assert (
        len(pages.pictures_of(one.prompt)) == 5
        and one.prompt[-1].endswith("answer :")
        and one.answer in one.choices
    )
    readable([pages.page_text(one.prompt)])


def test_signs_show_their_number_and_hold_numbers_out():
    train, test = (
        {digits.sign(split, index).number for index in range(2000)} for split in ("train", "test")
    )
    assert not train & test and train and test
    one, other = digits.sign("train", 0), digits.sign("train", 1)
    assert one.render(64).shape == (64, 64, 3) and (one.render(64) != other.render(64)).any()
    readable([one.caption, f"{one.question.text} {one.question.answer}"])
    seven, eight = (digits.Sign(number, "blue", 0.5).render(64) for number in "78")
    assert (seven != eight).any() and (seven < 60).all(-1).sum() > 20  # ink, not an empty box
    with pytest.raises(ValueError, match="no split 'novel' of signs"):
        digits.sign("novel", 0)


def test_documents_of_every_kind_are_readable_and_fill_a_row():
    for kind in documents.KINDS:
        made = [kind(SeededRandom(kind.__name__, index)) for index in range(150)]
        readable(made)
        assert len(set(made)) > 120, kind
    rows = documents.Documents(length=48)
    batch = rows.batch(range(16))
    assert batch["ids"].shape == (16, 48) and not (batch["ids"] == tokenizer.PAD).any()
    assert ((batch["ids"] == tokenizer.BOS) == ~batch["loss_mask"]).all() and (
        batch["ids"][:, 0] == tokenizer.BOS
    ).all()
    said = " ".join(tokenizer.decode(batch["ids"][3:4]))
    assert " ".join(" ".join(tokenizer.split_words(text)) for text in rows.row(3)).startswith(said)
    assert torch.equal(
        batch["ids"][5:7], rows.batch([5, 6])["ids"]
    )  # a row depends on its number alone
    assert (
        documents.Documents(seed=1).text(0)
        != documents.Documents().text(0)
        == documents.Documents().text(0)
    )


def test_names_are_bound_within_their_document_only():
    """In a document each name belongs to one thing; over documents to any: so only the context can tell."""
    bound = {}
    for index in range(200):
        words = [
            word
            for word in documents.invented_names(SeededRandom(index)).split()
            if word in tokenizer.INVENTED or word in documents.NOUN_WORDS
        ]
        here = dict(zip(words[1::2], words[::2]))
        assert set(words[1::2]) <= set(tokenizer.INVENTED) and all(
            here[name] == thing for thing, name in zip(words[::2], words[1::2])
        )
        for name, thing in here.items():
            bound.setdefault(name, set()).add(thing)
    assert min(map(len, bound.values())) > 10


def test_a_binding_test_can_be_answered_from_its_text_alone():
    for index in range(50):
        text, answer, episode = documents.binding_episode(index, ways=2, shots=1)
        assert (
            answer in text
            and text.endswith("this is a")
            and set(episode.choices) <= set(text.split())
        )
    known = documents.known_facts()
    assert all(answer in choices for _, answer, choices in known) and len(known) == 3 * len(
        world.nouns()
    )
    readable([f"{question} {answer} ." for question, answer, _ in known])


def test_prompts_end_where_the_model_goes_on_and_answers_are_all_that_is_scored():
    one, two = sample("test", 0), sample("test", 1)
    pages_ = [
        (one, "what is the thing ?"),
        ("a cat .", two, "this is a dax . the second question is larger ?"),
    ]
    made = prompts.Prompts(pages_, 16, "<image> <image> .").batch(range(len(pages_)))
    image = tokenizer.world_tokenizer().convert_tokens_to_ids("<image>")
    assert made["pixel_values"].shape == (2, 3, 16, 16) and (made["ids"] == image).sum(
        1
    ).tolist() == [
        2,
        2,
    ]
    assert tokenizer.decode(made["ids"][:, -1:]) == ["?", "?"] and made["padding_mask"].sum(
        1
    ).tolist() == [
        9,
        18,
    ]
    assert (
        not made["padding_mask"][0, 0]
        and (made["ids"] == tokenizer.EOS).sum() == 0
        and made["ids"][1, 0] == tokenizer.BOS
    )
    learnt = prompts.training_batch(pages_, ["top left", "dax"], 16)
    said = [
        tokenizer.decode(ids[loss_mask][None])[0]
        for ids, loss_mask in zip(learnt["ids"], learnt["loss_mask"])
    ]
    assert said == ["top left", "dax"]
    assert not (
        learnt["loss_mask"] & (learnt["ids"] == tokenizer.EOS)
    ).any()  # what is said ends, the text needn't
    torch.testing.assert_close(
        made["pixel_values"][1], world.to_pixels(world.render(two, 16)[None])[0]
    )


def test_prompts_can_be_blind_or_show_other_pictures():
    pages_ = [(sample("test", index), "what is this ?") for index in range(3)]
    seen, blind = (
        prompts.Prompts(pages_, 16, view=view).batch(range(len(pages_)))["pixel_values"]
        for view in (world.to_pixels, prompts.blank_images)
    )
    assert not blind.any() and seen.any()
    swapped = prompts.Prompts(prompts.swap_pictures(pages_), 16).batch(range(len(pages_)))[
        "pixel_values"
    ]
    assert torch.equal(swapped, seen.roll(-1, 0))
    with pytest.raises(ValueError, match="same number"):
        prompts.swap_pictures([pages_[0], ("no picture",)])
    assert prompts.Prompts([("a cat",)], 16).batch([0])["pixel_values"].shape == (0, 3, 16, 16)
