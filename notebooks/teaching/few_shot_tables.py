"""Lesson 12: the paper's numbers beside ours, and what our saved results say, in tables, figures and sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from teaching.few_shot_figures import best_possible, share_bars, shots_curves
from teaching.few_shot_measures import KNOWING, chosen, commonest, names_shown
from teaching.frozen_tables import few_shot, few_shot_runs, markdown, plain
from vlmcourse import evaluation
from vlmcourse.evaluation.published import published
from vlmcourse.recipes.in_context import SHOWN
from vlmcourse.world import few_shot as few_shot_episodes
from vlmcourse.world.interleaved import WebPages
from vlmcourse.world.questions import answers

SIZES = ("Flamingo-3B", "Flamingo-9B", "Flamingo (80B)")
BENCHMARKS = {
    "COCO CIDEr": "COCO (I)",
    "OKVQA": "OKVQA (I)",
    "VQAv2": "VQAv2 (I)",
    "MSVDQA": "MSVDQA (V)",
    "VATEX CIDEr": "VATEX (V)",
}
"""The five of Table 3, and what Table 1 calls them."""


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
    best = best_possible(4, [int(n) for n in first["shots"]])
    return shots_curves(series, 0.25, "right names (share)", best)


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
    """Questions about facts without and with four examples, whether the change is beyond noise, and what a rule scores."""
    first = few_shot_runs("flamingo")[0]
    kinds, web = first["knowledge"], WebPages("test", noun_subset=SHOWN.known)
    words = {"agrees": "higher", "disagrees": "lower"}
    lines = []
    for kind in kinds:
        none, four = (few_shot("flamingo", "knowledge", kind, n) for n in ("0", "4"))
        found = evaluation.verdict(four.values, none.values)
        asked = [
            few_shot_episodes.question_episode(web, i, kind, 0) for i in range(first["questions"])
        ]
        rule = f"{commonest(asked):.2f}"
        options = str(len(asked[0].choices))
        lines.append(
            [kind, options, rule, plain(none), plain(four), f"**{words.get(found, found)}**"]
        )
    head = ["question", "options", "commonest answer", "no example", "4 examples"]
    return markdown([*head, "change with examples"], lines)


def options_counted() -> str:
    """How many answers there are to the questions about facts, by kind."""
    return ", ".join(f"{kind} {len(answers(kind))}" for kind in KNOWING)


def about_trainings(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Which of two trainings has the lower loss early and late, for each data set."""
    lines = []
    for name in dict.fromkeys(name for steps in runs.values() for step in steps for name in step):
        for part, words in ((1, "second"), (4, "last")):
            means = {}
            for run, steps in runs.items():
                values = [step[name] for step in steps if name in step]
                fifth = values[part * len(values) // 5 : (part + 1) * len(values) // 5]
                means[run] = sum(fifth) / len(fifth) if fifth else values[-1]
            lower = min(means, key=lambda run, means=means: means[run])
            numbers = ", ".join(f"{run} {value:.2f}" for run, value in means.items())
            lines.append(f"- {name}, {words} fifth of the batches: {numbers}; lower is {lower}.")
    return "\n".join(["Mean losses (nats per token):", "", *lines])


def repeated(model, asked: Sequence, prompt: Callable, cache) -> str:
    """How often an example shows the right name, how many of these are answered rightly, and how often any shown name is said."""
    shown, answers = names_shown(asked)
    said = chosen(model, asked, prompt, cache)
    known = [name == answer for name, answer, row in zip(said, answers, shown) if answer in row]
    copied = sum(name in row for name, row in zip(said, shown))
    return (
        f"accumulation, two examples: {len(known) / len(asked):.2f} of the prompts show the right name, and "
        f"{sum(known) / max(1, len(known)):.2f} of these are answered rightly;\na shown name, right or not, is said in "
        f"{copied / len(asked):.2f} of the prompts"
    )


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
        "RICES, all pictures grey": curve("RICES", "blind"),
        "RICES: copying the nearest": curve("RICES", "nearest"),
        "RICES": curve("RICES", "right"),
    }
    drawn = shots_curves(series, known["chance"], "right names (share)")
    for n, grey in series["RICES, all pictures grey"].items():
        dots = {"color": "white", "markeredgecolor": "black", "markersize": 4, "zorder": 4}
        drawn.axes[0].plot([n] * len(grey.values), grey.values, "o", **dots)
    return drawn


def rices_sentence() -> str:
    """What RICES adds to copying, and what it gives away, in words."""
    rows = rices_rows()["rows"]

    def of(row: str, what: str, n: str) -> evaluation.Spread:
        return evaluation.spread_over_seeds(rows, row, what, n)

    ours, copied, blind = (
        of("RICES", "right", "4"),
        of("RICES", "nearest", "4"),
        of("RICES", "blind", "8"),
    )
    seeds = ", ".join(f"{value:.2f}" for value in blind.values)
    shown, ways = of("random", "shown", "1").mean, round(1 / rices_rows()["chance"])
    return (
        f"With four examples, RICES: {plain(ours)}; a rule that says the nearest example's name and reads nothing: "
        f"{plain(copied)}; Flamingo with grey pictures: {plain(of('RICES', 'blind', '4'))}. With four random examples "
        f"{plain(of('random', 'right', '4'))} are right, and the right name is shown in {plain(of('random', 'shown', '4'))}: "
        "where the right name isn't shown, one can still guess, and leave out the names that were. With one random example, "
        f"which shows the right name in {shown:.2f}, that gives at best {shown:.2f} + {1 - shown:.2f} / {ways - 1} = "
        f"{shown + (1 - shown) / (ways - 1):.2f}; measured {plain(of('random', 'right', '1'))}.\n\n"
        f"With eight retrieved examples, only four can show the right thing. With grey pictures the three models are then "
        f"right in {seeds} (chance {rices_rows()['chance']:.2f}). Without seeing they could still say the last name, and be "
        f"right in {of('RICES', 'nearest', '8').mean:.2f}: this rule they haven't learnt."
    )


def films_rows() -> list[dict]:
    """benchmarks/results/replicate_films.json."""
    return evaluation.load_results("replicate_films")["rows"]


def films(row: str, what: str, **where) -> evaluation.Spread:
    """A measurement over seeds of the rows that hold what `where` says."""
    rows = [one for one in films_rows() if where.items() <= one.items()]
    return evaluation.spread_over_seeds(rows, row, what)


FILMS = {"start": "from anywhere", "round": "around a usual place"}


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
    smaller = evaluation.verdict(film.values, small.values)
    changed = "change nothing beyond noise" if smaller == "within noise" else "change the result"
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
    near = " and ".join(
        f"{plain(films('Flamingo', what, films='round', time=times[-1]))} {words}"
        for what, words in (("film", "forwards"), ("backwards", "backwards"))
    )
    return (
        f"For films that start anywhere, a linear probe on the first and the last frame's features is right in "
        f"{plain(probe)}: the direction is in the features. {said} ({plain(film)}), {sign} ({plain(back)}). A model that "
        "knew whether a thing moves sideways or up and down, and guessed which way, would be right in half of the "
        f"films, forwards and backwards. Around a usual place Flamingo says the film's direction in {near}. Smaller time embeddings at the start of training (root mean square {times[0]} in "
        f"place of {times[-1]}) {changed}: {plain(small)}."
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
        f"the task on {len(beaten)} tasks ({', '.join(beaten)}), and not on {lost}. The caption says seven, and names "
        "none: presumably it counts RareAct, too. For RareAct the table has neither a score with 32 examples nor a fine-tuned "
        "model."
    )
