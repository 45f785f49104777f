"""The VQA metric beside the official code's own results."""

import pytest

from vlmcourse.evaluation.vqa import normalise_answer, vqa_accuracy

OFFICIAL = [
    ("two", "2"),
    ("Two dogs", "2 dogs"),
    ("none", "0"),
    ("zero", "0"),
    ("a dog", "dog"),
    ("The dog", "dog"),
    ("an apple a day", "apple day"),
    ("10,000", "10000"),
    ("1,000,000 people", "1000000 people"),
    ("3.5", "3.5"),
    ("3.", "3"),
    ("0.5 cup", "0.5 cup"),
    ("yes.", "yes"),
    ("e.g. cats", "eg cats"),
    ("u.s.a.", "usa"),
    ("50%", "50%"),
    ("50 %", "50 %"),
    ("$5", "$5"),
    ("#1", "#1"),
    ("#1!", "#1"),
    ("yes, it is", "yes it is"),
    ("yes,it is", "yes it is"),
    ("no; never", "no never"),
    ("no;never", "no never"),
    ("left/right", "left right"),
    ("left / right", "left right"),
    ("(left)", "left"),
    ("on (the) left", "on left"),
    ("[red]", "red"),
    ("red-white", "red white"),
    ("red - white", "red white"),
    ("t-shirt", "t shirt"),
    ("x-ray", "x ray"),
    ("a_b", "b"),
    ("don't", "don't"),
    ("dont", "don't"),
    ("cant", "can't"),
    ("it's", "it's"),
    ("its", "its"),
    ("wouldn'tve", "wouldn't've"),
    ("shouldnt've", "shouldn't've"),
    ("y'allll", "y'all'll"),
    ("couldve", "could've"),
    ("oclock", "o'clock"),
    ("5 o'clock", "5 o'clock"),
    ("12:30", "12:30"),
    ("12:30 pm", "12:30 pm"),
    ("half past ten", "half past 10"),
    ("what?", "what"),
    ("what ?", "what"),
    ("stop!", "stop"),
    ("stop !", "stop"),
    ("cats & dogs", "cats & dogs"),
    ("black&white", "black&white"),
    ("a+b", "b"),
    ("1+1=2", "1 1 2"),
    ("C:\\dir", "c: dir"),
    ("<b>", "b"),
    ("me@home", "me home"),
    ("`tick`", "tick"),
    ('"quoted"', "quoted"),
    ("{set}", "set"),
    ("NAÏVE", "naïve"),
    ("café", "café"),
    ("नमस्ते", "नमस्ते"),
    ("two\nlines", "2 lines"),
    ("tab\there", "tab here"),
    ("  spaces  ", "spaces"),
    ("one hundred", "1 hundred"),
    ("the", ""),
]
"""What processPunctuation and processDigitArticle of GT-Vision-Lab/VQA, vqaEval.py, make of these (run once)."""


@pytest.mark.parametrize("text, official", OFFICIAL)
def test_answers_are_normalised_as_by_the_official_code(text, official):
    assert normalise_answer(text) == official


def test_vqa_accuracy_is_that_of_ten_people():
    ten = ["dog"] * 3 + ["cat"] * 7
    # 3 sets of nine leave out a dog: 2/3; 7 hold all three: 1
    assert vqa_accuracy("a Dog.", ten) == pytest.approx(0.9)
    assert vqa_accuracy("cat", ten) == 1 and vqa_accuracy("bird", ten) == 0
    assert vqa_accuracy("dog", ["dog"] + ["cat"] * 9) == pytest.approx(0.3)


@pytest.mark.parametrize(
    "answer, others, score",
    [
        ("2", "two", 1),
        ("50", "50%", 0),
        ("no", "no.", 1),
        ("dont", "don't", 1),
        ("", "\u0926\u094b", 0),
    ],
)
def test_no_word_vanishes_and_equal_answers_agree(answer, others, score):
    assert vqa_accuracy(answer, [others] * 8 + ["maybe"] * 2) == score


def test_answers_of_nobody_are_refused():
    for answers in ([], "cat"):
        with pytest.raises(ValueError, match="expected a list"):
            vqa_accuracy("cat", answers)
