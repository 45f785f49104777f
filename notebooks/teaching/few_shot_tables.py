"""Lesson 12: the paper's numbers beside ours, and what our saved results say, in tables, figures and sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from teaching.few_shot_figures import share_bars, shots_curves
from teaching.frozen_tables import few_shot, few_shot_runs, markdown, plain
from vlmcourse import evaluation
from vlmcourse.evaluation.directions import directions
from vlmcourse.evaluation.published import published
from vlmcourse.training.checkpoint import checksum

SIZES = ("Flamingo-3B", "Flamingo-9B", "Flamingo (80B)")
BENCHMARKS = {
    "COCO CIDEr": "COCO (I)",
    "OKVQA": "OKVQA (I)",
    "VQAv2": "VQAv2 (I)",
    "MSVDQA": "MSVDQA (V)",
    "VATEX CIDEr": "VATEX (V)",
}
"""The five of Table 3, and what Table 1 calls them."""
OURS = (
    "captions, noun",
    "knowledge questions",
    "seeing questions",
    "films, which way",
    "a new name, 8 shots",
)
"""The scores whose mean is our overall score."""
ABLATIONS = range(45, 61)
"""Numbers of the lecture's directions that Table 3 gives."""


def table_1(method: str) -> dict[str, dict[int, float | None]]:
    """A method of the paper's Table 1: {task: {number of examples: score}}."""
    table = published("flamingo-table-1")
    rows = {row[1]: row for row in table.rows if row[0] == method}
    tasks = table.columns[2:]
    return {
        task: {shots: row[table.columns.index(task)] for shots, row in rows.items()}
        for task in tasks
    }


def best_scores() -> dict[str, float]:
    """The best fine-tuned scores before Flamingo of the five benchmarks of Table 3."""
    table = published("flamingo-table-1")
    return {
        name: table.value("Best fine-tuned before", column) for name, column in BENCHMARKS.items()
    }


def known_scores(row) -> dict[str, float]:
    """The scores of a row of Table 3, without VATEX."""
    table = published("flamingo-table-3")
    return {name: row[table.columns.index(name)] for name in BENCHMARKS if name != "VATEX CIDEr"}


def completed_table_3(missing_score: Callable) -> str:
    """Table 3 with VATEX computed from the overall score by the student's function."""
    table = published("flamingo-table-3")
    lines = []
    for row in table.rows:
        vatex = missing_score(row[-1], known_scores(row), best_scores())
        lines.append(
            [str(x) if x is not None else "" for x in (*row[:-2], f"{vatex:.1f}", row[-1])]
        )
    head = [*table.columns[:-2], "VATEX CIDEr (computed)", "overall"]
    return markdown(head, lines)


def in_context_figure():
    """Right names by number of examples, with controls: three seeds of the course's Flamingo."""
    first = few_shot_runs("flamingo")[0]
    names = {
        "shots": "names of training pages",
        "held_out_names": "six other names",
        "novel_nouns": "nouns it never saw",
        "swapped": "pictures of another prompt",
        "blind": "all pictures grey",
    }
    series = {
        name: {int(n): few_shot("flamingo", what, n) for n in first[what]}
        for what, name in names.items()
    }
    return shots_curves(series, 0.25, "right names (share)")


def in_context_sentence() -> str:
    """The curve of `in_context_figure` in words."""
    first = few_shot_runs("flamingo")[0]
    values = ", ".join(f"{few_shot('flamingo', 'shots', n).mean:.2f}" for n in first["shots"])
    last = list(first["swapped"])[-1]
    swapped, blind = (few_shot("flamingo", what, last) for what in ("swapped", "blind"))
    return (
        f"Right names with {', '.join(first['shots'])} examples: {values} ({len(few_shot_runs('flamingo'))} seeds). With "
        f"{last} examples whose pictures are another prompt's: {plain(swapped)}; with grey pictures: {plain(blind)}. Chance "
        "is 0.25."
    )


def knowledge_table() -> str:
    """Questions about facts without and with four examples, and whether the change is beyond noise."""
    kinds = few_shot_runs("flamingo")[0]["knowledge"]
    words = {"agrees": "higher", "disagrees": "lower"}
    lines = []
    for kind in kinds:
        none, four = (few_shot("flamingo", "knowledge", kind, n) for n in ("0", "4"))
        found = evaluation.verdict(four.values, none.values)
        lines.append([kind, plain(none), plain(four), f"**{words.get(found, found)}**"])
    return markdown(["question", "no example", "4 examples", "with examples it is"], lines)


def rices_rows() -> dict:
    """benchmarks/results/replicate_rices.json."""
    return evaluation.load_results("replicate_rices")


def rices_figure():
    """Right names by number of examples, chosen at random or by similarity, and what copying would score."""
    known = rices_rows()
    rows = known["rows"]
    shots = [*rows[0]["right"]]

    def curve(row: str, what: str) -> dict[int, evaluation.Spread]:
        return {int(n): evaluation.spread_over_seeds(rows, row, what, n) for n in shots}

    series = {
        "random": curve("random", "right"),
        "random: the name is shown": curve("random", "shown"),
        "RICES": curve("RICES", "right"),
        "RICES: copying the nearest": curve("RICES", "nearest"),
        "RICES, all pictures grey": curve("RICES", "blind"),
    }
    return shots_curves(series, known["chance"], "right names (share)")


def rices_sentence() -> str:
    """What RICES adds to copying, and what it gives away, in words."""
    rows = rices_rows()["rows"]

    def of(row: str, what: str, n: str) -> evaluation.Spread:
        return evaluation.spread_over_seeds(rows, row, what, n)

    ours, copied = of("RICES", "right", "4"), of("RICES", "nearest", "4")
    return (
        f"With four examples, RICES: {plain(ours)}; a rule that says the nearest example's name and reads nothing: "
        f"{plain(copied)}; Flamingo with grey pictures: {plain(of('RICES', 'blind', '4'))}. With four random examples "
        f"{plain(of('random', 'right', '4'))} are right, and the right name is shown in {plain(of('random', 'shown', '4'))}."
    )


def films_rows() -> list[dict]:
    """benchmarks/results/replicate_films.json."""
    return evaluation.load_results("replicate_films")["rows"]


def films(row: str, what: str, **where) -> evaluation.Spread:
    """A measurement over seeds of the rows that hold what `where` says."""
    rows = [one for one in films_rows() if where.items() <= one.items()]
    return evaluation.spread_over_seeds(rows, row, what)


FILMS = {"start": "from any place", "round": "around the thing's place"}


def films_figure():
    """Which way did it move? A linear probe on the features, and Flamingo with its controls."""
    times = sorted({one["time"] for one in films_rows() if "time" in one})
    groups: dict = {}
    for kind, words in FILMS.items():
        groups[f"{words}:\nlinear probe"] = {
            "film": films("probes", "first and last frame", films=kind),
            "first frame": films("probes", "first frame", films=kind),
        }
        groups[f"{words}:\nFlamingo"] = {
            what: films("Flamingo", what, films=kind, time=times[-1])
            for what in ("film", "first frame", "backwards")
        }
    return share_bars(groups, "right direction (share)", 0.25)


def films_sentence() -> str:
    """What the films' figure says, computed."""
    times = sorted({one["time"] for one in films_rows() if "time" in one})
    film, back = (
        films("Flamingo", what, films="start", time=times[-1]) for what in ("film", "backwards")
    )
    probe = films("probes", "first and last frame", films="start")
    small = films("Flamingo", "film", films="start", time=times[0])
    order = evaluation.verdict(film.values, back.values)
    line = evaluation.verdict(film.values, [0.25] * len(film.values))
    said = {
        "agrees": "Flamingo is above chance in every seed",
        "within noise": "Flamingo isn't above chance beyond noise",
        "disagrees": "Flamingo is below chance",
    }[line]
    sign = {
        "agrees": "and the films in their order beat the films backwards, so it reads the order",
        "within noise": "and films run backwards are answered alike, so it doesn't read the order",
        "disagrees": "but films run backwards do better",
    }[order]
    return (
        f"For films that start at any place, a linear probe on the first and the last frame's features is right in "
        f"{plain(probe)}: the direction is in the features. {said} ({plain(film)}), {sign} ({plain(back)}). A model that "
        "knew the line of motion (left or right, against up or down) and guessed the sign would be right in half of the "
        f"films, forwards and backwards. With time embeddings that start at a root mean square of {times[0]} in place of "
        f"{times[-1]}: {plain(small)}."
    )


def directions_table(numbers=range(41, 61)) -> str:
    """The paper's claims beside our measurements, with the verdict of the one rule."""
    lines = []
    for one in directions():
        if one.number in numbers and one.paper == "Flamingo":
            remark = one.note if one.verdict == "agrees" else one.reason
            lines.append(
                [one.claim, one.published, one.ours() or "–", f"**{one.verdict}**", remark]
            )
    return markdown(
        ["claim", "paper", "ours (mean ± sd over seeds)", "verdict", "a possible reason"], lines
    )


def verdicts(numbers=ABLATIONS) -> dict[str, int]:
    """{verdict: number of claims}"""
    found: dict[str, int] = {}
    for one in directions():
        if one.number in numbers and one.paper == "Flamingo":
            found[one.verdict] = found.get(one.verdict, 0) + 1
    return found


def about_runs(language_model: nn.Module, report: Mapping[int, float]) -> str:
    """Which model our runs are of, as far as their files say it. report: right names of the model shown, by examples."""
    old, new = (evaluation.load_results(f"replicate_{name}") for name in ("flamingo", "ablations"))
    steps, nouns = old["rows"][0]["steps"], old["words"]
    present = new["language model"] == checksum(language_model.state_dict())[:16]
    changed = sorted({row["row"] for row in new["rows"]} - {"Flamingo"})
    named = "the language model of this lesson" if present else "another language model"
    former = (
        ""
        if "language model" in old
        else " The file doesn't name its language model; each row says what is known of it."
    )
    lesson = [
        row
        for row in evaluation.load_results("replicate_shots")["rows"]
        if row["row"] == "lesson" and row["seed"] == 0
    ]
    same = lesson and all(
        abs(lesson[0]["shots"][str(n)] - value) < 0.1 for n, value in report.items()
    )
    return (
        f"Two sets of runs. One, of {', '.join(changed)}, is in a world of 48 nouns and of {named}. The other has {nouns} nouns "
        f"and {steps} steps a run.{former} The runs of three sizes and of fine-tuning are of "
        f"{'the training' if same else 'another training than that'} of the model shown here."
    )


def about_table_1() -> str:
    """On how many tasks 32 examples beat the best fine-tuned model, counted in Table 1."""
    table = published("flamingo-table-1")
    beaten, lost = [], 0
    for task in table.columns[2:]:
        ours = table_1(SIZES[-1])[task][32]
        best = table.value("Best fine-tuned before", task)
        if ours is not None and best is not None:
            beaten += [task] * (ours > best)
            lost += ours <= best
    return (
        f"Counted in the table: with 32 examples the largest Flamingo beats the best model that was fine-tuned on "
        f"the task on {len(beaten)} tasks ({', '.join(beaten)}), and not on {lost}. The caption says seven: it also counts "
        "RareAct, for which there was no fine-tuned model."
    )


def about_ablations() -> str:
    """Where the unchanged models of our Table 3 stand on each score, and chance where a file has it."""
    said = []
    for name, where in (("flamingo", "in few steps"), ("ablations", "in the world of 48 nouns")):
        facts = evaluation.load_results(f"replicate_{name}")
        values = []
        for score in [score for score in facts["rows"][0] if score in OURS]:
            value = plain(evaluation.spread_over_seeds(facts["rows"], "Flamingo", score))
            chance = facts.get("chance", {}).get(score)
            values.append(f"{score} {value}" + (f" (chance {chance:.2f})" if chance else ""))
        said.append(f"The scores of our unchanged model {where}: {'; '.join(values)}.")
    return " ".join(said)
