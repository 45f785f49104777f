"""The command vlmcourse: setup, doctor, lab, run, test, build, site, start, train, grade.

Nothing heavy is imported until a command runs, so that --help answers at once.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vlmcourse import __version__

try:
    from vlmgrader.cli import app as grade
except ModuleNotFoundError as error:
    raise SystemExit(f"vlmcourse: {error}. It comes with the clone: pip install -e .") from None

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _find_assignments() -> None:
    """The grader's default: this course's assignments."""
    from vlmcourse.lessons import course_folder

    os.environ.setdefault("VLMGRADER_ASSIGNMENTS", str(course_folder() / "assignments"))


app.add_typer(grade, name="grade", callback=_find_assignments)


class ScaleName(StrEnum):
    smoke = "smoke"
    laptop = "laptop"
    gpu = "gpu"


class Precision(StrEnum):
    float32 = "float32"
    bfloat16 = "bfloat16"


Scale = Annotated[
    ScaleName | None,
    typer.Option(
        help="smoke: seconds; laptop: two cores, minutes; gpu. Default: VLMCOURSE_SCALE, else laptop."
    ),
]


def _use(scale: ScaleName | None) -> None:
    """Lessons and recipes read the scale from the environment, the ones in other processes too."""
    if scale:
        os.environ["VLMCOURSE_SCALE"] = scale.value


@app.command()
def doctor() -> None:
    """Check this machine: what is there, what is missing, and what to do about it."""
    from rich.console import Console

    from vlmcourse.doctor import checks

    console, missing = Console(), 0
    for check in checks():
        missing += check.needed and not check.fine
        mark = (
            "[green]OK  [/]"
            if check.fine
            else "[red]MEND[/]"
            if check.needed
            else "[yellow]NOTE[/]"
        )
        advice = "" if check.fine else f"\n{'':24}{check.advice}"
        console.print(f"{mark} [bold]{check.name:18}[/] {check.finding}{advice}", highlight=False)
    raise typer.Exit(1 if missing else 0)


@app.command()
def setup() -> None:
    """Make the clone's environment (.venv) and install the course into it, where that isn't done yet."""
    from vlmcourse.installation import start

    raise typer.Exit(start(["setup"]))


@app.command()
def test(
    fast: Annotated[
        bool, typer.Option("--fast", help="Only the tests that take three minutes together.")
    ] = False,
) -> None:
    """Run the course's tests and all notebooks at scale smoke, as CI does. In a clone."""
    from vlmcourse.lessons import repository

    command = [
        sys.executable,
        str(repository() / "tests" / "run.py"),
        *(["--fast"] if fast else []),
    ]
    raise typer.Exit(subprocess.run(command).returncode)


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(f"vlmcourse {__version__}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_tell_version, is_eager=True, help="Say which version this is."
        ),
    ] = False,
) -> None:
    """Early vision-language models, built step by step.

    Start with: vlmcourse lab
    """


@app.command()
def lab(
    lesson: Annotated[
        str | None, typer.Argument(help="A lesson to open: its number or a part of its name.")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
    port: Annotated[int, typer.Option(help="Port to serve on.")] = 8888,
) -> None:
    """Open JupyterLab on your own copies of the lessons and assignments (folder my_work)."""
    from vlmcourse import lessons, workspace

    root, folder = lessons.course_folder(), workspace.student_folder()
    workspace.prepare(root, folder)
    name = lessons.find(lesson).name if lesson else workspace.START
    command = workspace.jupyterlab(folder, name, port, browser)
    print(f"Lessons: {folder}. Stop with Ctrl-C.", flush=True)
    os.environ.update(workspace.environment(root))
    if os.name == "nt":  # exec on Windows detaches from the console
        raise typer.Exit(subprocess.run(command).returncode)
    os.execv(command[0], command)


@app.command()
def update() -> None:
    """Bring new and changed lessons and assignments into my_work; what you changed stays."""
    from vlmcourse import lessons, workspace

    root, folder = lessons.course_folder(), workspace.student_folder()
    for copied in workspace.prepare(root, folder, update=True):
        if copied.what == "kept":
            print(f"kept     {copied.path} (you changed it; the course's is beside it, as .new)")
        elif copied.what != "same":
            print(f"{copied.what:8} {copied.path}")


@app.command()
def run(
    lesson: Annotated[str, typer.Argument(help="Its number or a part of its name: 2, 02, clip")],
    scale: Scale = None,
) -> None:
    """Execute a lesson without a browser and save the notebook, with a web page of it, in runs/."""
    from vlmcourse import lessons

    _use(scale)
    name = os.environ.get("VLMCOURSE_SCALE", "laptop")
    notebook = lessons.find(lesson)
    folder = Path("runs")
    executed = lessons.execute(
        lessons.read(notebook),
        notebook.parent if lessons.in_clone() else Path.cwd(),
        _tell_cell,
        on_failure=folder / f"{notebook.stem}-{name}-failed.ipynb",
    )
    saved = lessons.keep(executed, folder / f"{notebook.stem}-{name}.ipynb")
    page = f" and {lessons.site().notebook_page(saved)}" if lessons.in_clone() else ""
    print(f"Kept {saved}{page}")


def _tell_cell(number: int, cells: int, title: str, seconds: float) -> None:
    print(f"[{number:3}/{cells}] {seconds:7.1f} s  {title}", flush=True)


@app.command()
def build(
    lesson: Annotated[
        list[str] | None, typer.Argument(help="Lessons and assignments to build; none: all")
    ] = None,
    scale: Scale = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only compare cells of masters and notebooks.")
    ] = False,
) -> None:
    """Turn masters into notebooks: lessons (02, frozen), executed, and assignments (A1, A2), as students and nbgrader get them."""
    from vlmcourse import lessons
    from vlmcourse.assignments import FOLDER as public
    from vlmgrader import authoring

    _use(scale)
    of_assignments = [name for name in lesson or [] if name[:1] in "Aa" and name[1:2].isdigit()]
    of_lessons = [name for name in lesson or [] if name not in of_assignments]
    home = lessons.repository() / "assignments"
    folders = (
        [authoring.find(name, home) for name in of_assignments]
        if lesson
        else authoring.assignments(home)
    )
    masters = (
        [lessons.find(name, lessons.masters() + lessons.companions()) for name in of_lessons]
        if lesson
        else (lessons.masters() + lessons.companions())
    )
    different = (
        [master.stem for master in masters if not lessons.is_up_to_date(master)] if check else []
    )
    different += (
        [folder.name for folder in folders if not authoring.is_up_to_date(folder)] if check else []
    )
    if different:
        raise ValueError(
            f"master and notebook have different cells: {', '.join(different)}. Run: vlmcourse build"
        )
    for folder in [] if check else folders:
        print(
            f"{folder.name}: {', '.join(str(path.relative_to(lessons.repository())) for path in authoring.build(folder, public))}"
        )
    for master in [] if check else masters:
        print(master.stem, flush=True)
        executed = lessons.execute(lessons.from_master(master), master.parents[1], _tell_cell)
        print(f"Kept {lessons.keep(executed, lessons.notebook_of(master))}")


@app.command()
def site(
    out: Annotated[
        Path, typer.Option(help="Folder for the pages; an older site in it is replaced.")
    ] = Path("build/site"),
) -> None:
    """Build the course as static pages: lessons, syllabus, instructor's guide, reference. Links and figures are checked."""
    from vlmcourse import lessons

    pages = lessons.site()
    wrote = pages.build(lessons.repository(), out)
    if faults := pages.check(out):
        raise ValueError(f"{len(faults)} faults in the pages of {out}:\n  " + "\n  ".join(faults))
    size = sum(path.stat().st_size for path in wrote) / 2**20
    print(
        f"Kept {len(wrote)} files, {size:.1f} MiB, in {out}; links checked. Open {out / 'index.html'}"
    )


@app.command("start")
def start_project(
    folder: Annotated[Path, typer.Argument(help="A new folder, which gets the project's name.")],
) -> None:
    """Write a project of your own to begin with: a training script, a notebook, a test, a README."""
    from vlmcourse.starter import start

    for path in start(folder):
        print(path)
    print(f"Begin: cd {folder} && python train.py --scale smoke --out runs/smoke")


@app.command()
def train(
    paper: Annotated[
        str | None, typer.Argument(help="clip, language, flamingo, ...; `list` names all.")
    ] = None,
    scale: Scale = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Your pictures: a folder with metadata.jsonl or .csv, or a data set of save_to_disk()."
        ),
    ] = None,
    image_column: Annotated[
        str | None, typer.Option(help="Its column of pictures. Default: file_name, or image.")
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(help="Its column of captions. Default: text.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Examples in a batch. Default: what the scale says.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps of training. Default: what the scale says.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides initial weights, data and order.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Where checkpoint and report go. Default: runs/PAPER.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")
    ] = False,
    precision: Annotated[
        Precision | None, typer.Option(help="Default: whichever is faster here.")
    ] = None,
    ship: Annotated[
        bool, typer.Option("--ship", help="For the course's makers: put it into the package.")
    ] = False,
    all_stages: Annotated[
        bool, typer.Option("--all", help="With --ship: every stage of the package, from nothing.")
    ] = False,
) -> None:
    """Train a paper's model on the course's world, or on your own pictures, and test it on what it never saw."""
    import torch

    from vlmcourse import recipes
    from vlmcourse.recipes import shipping
    from vlmcourse.training.devices import processes

    if all_stages != (paper is None) or (all_stages and not ship):
        raise ValueError("name one paper, or --all with --ship: vlmcourse train list names all.")
    if all_stages:
        return _ship_all(scale and scale.value, seed)
    if paper == "list":
        return print(*recipes.names(), sep="\n")
    main_process = processes().is_main_process
    if "MASTER_ADDR" in os.environ and "LOCAL_RANK" not in os.environ:
        print(
            "accelerate launch starts one process on a CPU. For two: torchrun --nproc_per_node 2 -m vlmcourse ..."
        )

    def log(text: str) -> None:
        if main_process:
            print(text, flush=True)

    name = scale and scale.value
    out = out or Path("runs") / paper
    kind = precision and getattr(torch, precision.value)
    with _progress(main_process) as on_step:
        if ship:
            shipped = shipping.ship(paper, name, seed, steps, on_step)
            report, saved = shipped.report, shipped.path
        else:
            report = recipes.train(
                paper,
                out,
                name,
                data,
                steps,
                seed,
                resume,
                kind,
                on_step,
                log,
                batch=batch,
                image_column=image_column,
                text_column=text_column,
            )
            saved = f"in {out}: model.safetensors (vlmcourse.load), report.json, {paper}.safetensors (to go on from)"
    if report:
        _tell(report)
        print(f"Kept {saved}")


def _ship_all(scale: str | None, seed: int) -> None:
    """Every stage of the package, each behind those it is built on, with the time that its training took."""
    from vlmcourse.recipes import shipping

    seconds = 0.0
    for name in shipping.shipped_names():
        with _progress() as on_step:
            shipped = shipping.ship(name, scale, seed, on_step=on_step)
        seconds += shipped.seconds
        size = shipped.path.stat().st_size / 2**20
        print(f"{name:18} {shipped.seconds / 60:6.1f} minutes {size:6.2f} MiB", flush=True)
    print(f"{'together':18} {seconds / 60:6.1f} minutes")


@app.command("search")
def search(
    query: Annotated[str, typer.Argument(help='What to look for: "a red bicycle".')],
    pictures: Annotated[Path, typer.Argument(help="A folder of pictures.")],
    model: Annotated[Path, typer.Option(help="A folder that train wrote.")] = Path("runs/clip"),
    count: Annotated[int, typer.Option(help="How many pictures to name.", min=1)] = 5,
) -> None:
    """Find the pictures of a folder that fit a text best, with a CLIP or BLIP that you trained."""
    from vlmcourse import load

    nearest, faults = load(model).search(query, pictures, count)
    for path, cosine in nearest:
        print(f"{cosine:6.3f}  {path}")
    for fault in faults:
        print(f"not read: {fault}", file=sys.stderr)


@contextmanager
def _progress(shown: bool = True) -> Iterator[Callable]:
    """A progress bar with loss and time left; gives the function that each Step is told to."""
    from tqdm import tqdm

    with ExitStack() as stack:
        bar = None

        def on_step(step) -> None:
            nonlocal bar
            bar = bar or stack.enter_context(
                tqdm(
                    total=step.steps,
                    initial=step.step - 1,
                    unit="step",
                    mininterval=0.5,
                    disable=not shown,
                )
            )
            bar.set_postfix(loss=f"{step.loss:.3f}", refresh=False)
            bar.update()

        yield on_step


def _tell(report: dict, group: str = "") -> None:
    for name, value in report.items():
        if isinstance(value, dict):
            _tell(value, f"{group}{name}, ")
        else:
            print(
                f"{f'{group}{name}':45} {value:.3f}"
                if isinstance(value, float)
                else f"{group}{name:45} {value}"
            )


def main() -> None:
    """Runs a command; what went wrong is said in one message (VLMCOURSE_DEBUG=1 shows where)."""
    try:
        app()
    except (ValueError, OSError, FloatingPointError, RuntimeError) as error:
        if os.environ.get("VLMCOURSE_DEBUG"):
            raise
        print(f"vlmcourse: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
