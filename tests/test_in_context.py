"""Names bound in context: texts with image tags, tests in words, the hull of words, pages of names."""

import pytest
import torch

from benchmarks import replicate_rices
from vlmcourse import world
from vlmcourse.parts.word_hull import WordDirections, WordHull
from vlmcourse.recipes import few_shot_report, in_context
from vlmcourse.world import curriculum, document_kinds, few_shot, tokenizer, word_tests
from vlmcourse.world.interleaved import interleaved_text


def test_pages_in_words_hold_tags_series_and_every_word_is_known():
    rows = curriculum.MarkedDocuments()
    texts = [rows.text(index).replace(document_kinds.MARK, "") for index in range(400)]
    known = set(tokenizer.world_tokenizer().get_vocab())
    assert all(set(text.split(" ")) <= known for text in texts)
    assert 0.25 < sum("<image>" in text for text in texts) / len(texts) < 0.7
    assert max(text.count("answer :") for text in texts) >= 12  # a series of solved questions
    assert rows.batch(range(3))["ids"].shape == (3, 256)
    assert torch.equal(rows.batch([2])["ids"], rows.batch(range(3))["ids"][2:])


def test_marked_words_are_those_that_the_text_before_them_decides():
    for index in range(60):
        text = document_kinds.named_pages(world.scenes.SeededRandom("marks", index))
        if text.startswith("answer with"):
            text = text.split(" . ", 1)[1]
        said = set()
        for word in text.split():
            plain = word.removeprefix(document_kinds.MARK)
            if plain in tokenizer.INVENTED:
                assert word.startswith(document_kinds.MARK) == (plain in said)
            said.add(plain)
    batch = curriculum.MarkedDocuments().batch(range(8))
    assert 0.03 < batch["answer_mask"].float().mean() < 0.2
    words = tokenizer.world_tokenizer().convert_ids_to_tokens(
        batch["ids"][batch["answer_mask"]].tolist()
    )
    assert {"left", "right", "above", "below"} <= set(words)
    assert not {".", "question", "<image>", "<EOC>"} & set(words)


def test_the_curriculum_reads_names_first():
    read = curriculum.Curriculum(2, 3)
    near, names, pages = read.parts
    batch = read.batch(range(1, 7))
    for place, part in enumerate((near, names, names, names, pages, pages)):
        assert torch.equal(batch["ids"][place], part.batch([place + 1])["ids"][0])
    assert read.fingerprint() != curriculum.Curriculum(2, 4).fingerprint()


def test_a_name_means_one_thing_in_a_document():
    for index in range(100):
        text = document_kinds.short_names(world.scenes.SeededRandom("names", index))
        text = text.replace(document_kinds.MARK, "")
        words = [
            word for word in text.split() if word not in ("is", "a", "an", "some", "this", ".")
        ]
        pairs = set(zip(words[::2], words[1::2]))
        assert len({thing for thing, _ in pairs}) == len({name for _, name in pairs}) == len(pairs)


def test_descriptions_in_words_keep_to_compositions_of_training():
    assert all(
        colour in world.BACKGROUNDS and world.scenes.split_of((word,), colour) in ("train", "novel")
        for word, colours in document_kinds._backgrounds().items()
        for colour in colours
    )


@pytest.mark.parametrize("shots", word_tests.NAMES_SHOTS)
def test_the_asked_name_was_said_of_the_asked_thing(shots):
    for prompt, answer in word_tests.names(shots, "tags", 20):
        *examples, asked = prompt.split("<image> ")[1:]
        assert len(examples) == shots and asked.endswith("this is a")
        mine = [one for one in examples if one.split()[0] == asked.split()[0]]
        assert mine and all(f" {answer} ." in one for one in mine)


def test_a_hull_is_the_identity_first_and_a_weighted_mean_of_words_at_last():
    words = torch.eye(6)
    hull, vectors = WordHull(words, 100), torch.randn(5, 6)
    assert torch.equal(hull(vectors), vectors)
    for _ in range(50):
        hull.after_step()
    assert hull.share == pytest.approx(0.5)
    for _ in range(50):
        hull.after_step()
    assert hull(vectors).min() >= 0 and torch.allclose(hull(vectors).sum(-1), torch.ones(5))
    assert torch.equal(hull(vectors).argmax(-1), vectors.argmax(-1))


def test_what_is_added_to_the_start_keeps_to_the_directions_in_which_words_differ():
    words, start = torch.zeros(20, 6), torch.randn(2, 6)
    words[:, 1:3] = torch.randn(20, 2)
    added, ending = torch.randn(5, 2, 6), WordDirections(words, start, 2)
    kept = added.clone()
    kept[..., [0, 3, 4, 5]] = 0
    torch.testing.assert_close(ending((start + added).flatten(0, 1)), (start + kept).flatten(0, 1))


def test_held_out_names_and_new_nouns_are_on_no_training_page():
    pages = in_context.NamedThings()
    said = {
        word
        for index in range(300)
        for page in (pages.captions(index), pages.name_pages(index), pages.question_pages(index))
        for word in interleaved_text(page).split()
    }
    assert not said & {*few_shot_report.HELD_OUT_NAMES, *in_context.NEW_NOUNS}
    assert len(said & set(few_shot_report.NAMES)) == len(few_shot_report.NAMES)
    held_out = few_shot_report.binding(8, 4, names=few_shot_report.HELD_OUT_NAMES)
    assert all(set(one.choices) <= set(few_shot_report.HELD_OUT_NAMES) for one in held_out)


@pytest.mark.parametrize("nouns", (few_shot_report.ALL_NOUNS, in_context.SHOWN))
def test_a_score_that_knows_gets_full_marks_and_the_control_does_not(nouns):
    def by_picture(episodes):
        """Answers with the name that the examples give to the thing that is asked."""
        right = 0
        for one in episodes:
            *shown, asked, _ = one.prompt
            names = {scene.words: said.split()[3] for scene, said in zip(shown[::2], shown[1::2])}
            right += names.get(asked.words) == one.answer
        return right / len(episodes)

    report = few_shot_report.binding_report(by_picture, lambda episodes: 0.25, 40, nouns)
    assert report["shots"]["0"] == 0 and report["shots"]["8"] == report["novel_nouns"]["8"] == 1
    assert report["shots"]["1"] < report["shots"]["2"] < report["shots"]["4"] == 1
    assert report["swapped"]["8"] < 0.3 and report["blind"]["8"] == 0.25
    assert few_shot.other_pictures(few_shot_report.binding(4, 4))


class KnowsThings:
    """Features that say which thing is shown, and nothing else."""

    def pictures(self, pictures):
        words = sorted({scene.words for scene in pictures})
        return torch.eye(len(words))[[words.index(scene.words) for scene in pictures]][:, None]


def test_retrieved_examples_show_the_thing_that_is_asked_and_nothing_else_differs():
    ways = (replicate_rices.at_random, replicate_rices.most_similar(KnowsThings()))
    others = 0
    for index in range(8):
        random, nearest = (replicate_rices.episode(index, 4, choose) for choose in ways)
        assert random.prompt[-2:] == nearest.prompt[-2:] and random.answer == nearest.answer
        assert replicate_rices.names_shown(nearest) == [nearest.answer] * 4
        others += len({*replicate_rices.names_shown(random)} - {random.answer})
    assert others > 8
