"""Lesson 00's exercises on parameters and systems: wrong answers, tried by test_teaching_course_map.py; and its tables are whole."""

from teaching import course_map_tables as tables
from teaching.course_map import EXERCISES
from teaching.course_map_answers import FLAVOURS, flavour_of, systems
from vlmcourse import lessons
from vlmcourse.evaluation import load_results
from vlmcourse.evaluation.published import published


def numbers(tensors):
    return sum(tensor.numel() for tensor in tensors)


def split(model):
    own = list(model.parameters())
    return [p for p in own if p.requires_grad], [p for p in own if not p.requires_grad]


def counts(trained, frozen):
    return {"trained": trained, "frozen": frozen}


def fitting(fits, key="name"):
    return lambda systems, inputs, outputs: [
        s if key is None else s[key]
        for s in systems
        if fits(inputs, set(s["inputs"])) and fits(outputs, set(s["outputs"]))
    ]


def subset(wanted, has):
    return wanted <= has


def flavour_but(**changed):
    return lambda name: changed.get(name.replace("-", "_"), flavour_of(name))


WRONG = {
    "course_map.count": {
        "tensors are counted": lambda m: counts(*map(len, split(m))),
        "weights themselves are added up": lambda m: counts(
            *(sum(p.sum() for p in part) for part in split(m))
        ),
        "don't freeze anything": lambda m: counts(
            *(
                numbers(
                    p
                    for part in m.modules()
                    if part.training == k
                    for p in part._parameters.values()
                    if p is not None
                )
                for k in (True, False)
            )
        ),
        "are exchanged": lambda m: counts(*map(numbers, reversed(split(m)))),
        "all parameters are counted as trained": lambda m: counts(numbers(m.parameters()), 0),
        "counted twice": lambda m: counts(
            numbers(p for _, p in m.named_parameters(remove_duplicate=False) if p.requires_grad),
            numbers(split(m)[1]),
        ),
        "buffers": lambda m: counts(
            numbers(split(m)[0]), numbers(split(m)[1]) + numbers(m.buffers())
        ),
        "the trained ones included": lambda m: counts(
            numbers(split(m)[0]), numbers(m.parameters())
        ),
        "only the first axis": lambda m: counts(
            *(sum(len(p) if p.dim() else 1 for p in part) for part in split(m))
        ),
        "sizes of the axes": lambda m: counts(*(sum(sum(p.shape) for p in s) for s in split(m))),
        "these are bytes": lambda m: counts(*(4 * numbers(part) for part in split(m))),
        "before the first backward": lambda m: counts(
            numbers(p for p in m.parameters() if p.grad is not None),
            numbers(p for p in m.parameters() if p.grad is None),
        ),
        "state_dict()": lambda m: counts(
            numbers(p for p in m.state_dict().values() if p.requires_grad),
            numbers(p for p in m.state_dict().values() if not p.requires_grad),
        ),
        "a loop over children()": lambda m: counts(
            *(numbers(p for c in m.children() for p in split(c)[kind]) for kind in (0, 1))
        ),
        "biases and single": lambda m: counts(
            *(numbers(p for p in part if p.dim() > 1) for part in split(m))
        ),
        "outside its layers": lambda m: counts(
            *(numbers(p for p in m._parameters.values() if p.requires_grad == k) for k in (1, 0))
        ),
        "frozen ones are missing": lambda m: counts(numbers(split(m)[0]), 0),
        "the frozen ones included": lambda m: counts(numbers(m.parameters()), numbers(split(m)[1])),
        "last tensor of each kind": lambda m: counts(*(part[-1].numel() for part in split(m))),
        "names of layers differ": lambda m: counts(
            numbers(m.bridge.parameters()), numbers(m.encoder.parameters())
        ),
    },
    "course_map.query": {
        "not for equality": fitting(lambda wanted, has: wanted == has),
        "one common kind": fitting(lambda wanted, has: bool(wanted & has)),
        "wrong way round": fitting(lambda wanted, has: wanted >= has),
        "proper subset": fitting(lambda wanted, has: wanted < has),
        "use and, not or": lambda systems, i, o: [
            s["name"] for s in systems if i <= set(s["inputs"]) or o <= set(s["outputs"])
        ],
        "everything that is asked for": lambda systems, i, o: [
            s["name"] for s in systems if i <= set(s["inputs"]) and o & set(s["outputs"])
        ],
        "into one set": lambda systems, i, o: [
            s["name"] for s in systems if i | o <= {*s["inputs"], *s["outputs"]}
        ],
        "leave out the not": lambda systems, i, o: [
            s["name"] for s in systems if s["name"] not in fitting(subset)(systems, i, o)
        ],
        "the list is empty": lambda systems, i, o: [
            s["name"] for s in systems if i in s["inputs"] and o in s["outputs"]
        ],
        "these are all systems": lambda systems, i, o: [s["name"] for s in systems],
        "a list of names": lambda *args: set(fitting(subset)(*args)),
        "only the first system": lambda *args: fitting(subset)(*args)[0],
        "only the inputs": lambda systems, i, o: fitting(subset)(systems, i, set()),
        "only the outputs": lambda systems, i, o: fitting(subset)(systems, set(), o),
        "are exchanged": lambda systems, i, o: fitting(subset)(systems, o, i),
        "not the whole entries": fitting(subset, key=None),
        "keep the order": lambda *args: sorted(fitting(subset)(*args)),
    },
    "course_map.flavour": {
        "CLIP is not 'any to any'": flavour_but(CLIP="any to any"),
        "ViLBERT is not": flavour_but(ViLBERT="aligned encoders"),
        "Flamingo is not": flavour_but(Flamingo="image-conditioned text"),
        "BLIP-2 is not": flavour_but(BLIP_2="any input to text"),
        "is no flavour": flavour_but(LLaVA="chat"),
        "Chameleon is not": flavour_but(Chameleon="image generation"),
    },
}


def test_every_system_has_every_column_and_a_flavour():
    assert len(systems()) >= 12
    for system in systems():
        assert flavour_of(system["name"]) in FLAVOURS
        assert all(system[key] for key in ("frozen", "trained", "meet", "data", "objective"))
        assert set(system["inputs"] + system["outputs"]) <= {
            "image",
            "text",
            "video",
            "class",
            "similarity",
        }
    assert {flavour_of(system["name"]) for system in systems()} == set(FLAVOURS)
    assert len(EXERCISES) == 9


def test_lessons_of_the_table_exist_and_flavours_are_not_in_it():
    built = {master.stem[:2] for master in lessons.masters()}
    assert {system["lesson"] for system in systems()} <= {"", *built}
    table = tables.systems_table().data
    assert all(system["name"] in table for system in systems())
    assert not any(flavour in table for flavour in FLAVOURS)


def test_the_table_beside_the_paper_says_what_is_chosen_and_how_many_questions():
    results = load_results("replicate_bridges")
    table = tables.beside_ours(published("blip2-table-1"), results).data
    assert "| by design |" in table.splitlines()[2]
    assert f"of {results['count']} 'what' questions" in table


def test_every_kind_of_question_has_the_verdict_that_the_lesson_tells():
    table = tables.beside_ours(published("blip2-table-1"), load_results("replicate_bridges")).data
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    verdicts = {row[0]: row[-1] for row in rows if row and row[0] in tables.KINDS}
    assert verdicts == dict.fromkeys(tables.KINDS, "agrees") | {
        "what": "within noise",
        "presence": "within noise",
        "how many": "within noise",
        "left or right": "within noise",
    }
