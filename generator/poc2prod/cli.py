"""The command line. Exit codes: 0 done, 1 refused, 2 wrong usage, 130 stopped by Ctrl-C."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.prompt import Confirm

from . import __version__, project
from .estimate import Estimator
from .explain import explain_question
from .make import set_up
from .questions import Questions
from .refusal import Refusal
from .template import default_source, open_template

SETUP = "Set it up now: environment, git, hooks and a first commit?"

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Example: poc2prod new --defaults ../scratch-detector",
)
# No markup: a folder or a gate may be called anything, `latency p95 [ms]` or `:100:`.
console = Console(highlight=False, markup=False, emoji=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"poc2prod {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """From a proof of concept to production: scope a project, and every answer runs."""
    # Being told to end, or losing the terminal, cleans up exactly as Ctrl-C does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


AnswersFile = Annotated[
    Path | None,
    typer.Option("--answers", help="A YAML file of answers; what it leaves out takes its default."),
]
TemplateSource = Annotated[
    str | None,
    typer.Option("--template", help="A folder or git address; or set POC2PROD_TEMPLATE."),
]


@app.command(epilog="Example: poc2prod new ../payment-fraud")
def new(
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", help="A folder that is missing or empty.")
    ],
    answers: AnswersFile = None,
    defaults: Annotated[bool, typer.Option("--defaults", help="Take every default.")] = False,
    full: Annotated[
        bool, typer.Option("--full/--quick", help="Ask everything, or only what matters most.")
    ] = False,
    setup: Annotated[
        bool | None,
        typer.Option(help="Afterwards: environment, git, hooks, first commit. Asked if left out."),
    ] = None,
    template: TemplateSource = None,
) -> None:
    """Hold the scoping interview, or read a file of answers, and create the project: all of it,
    or nothing."""
    if answers and defaults:
        raise typer.BadParameter("give --answers FILE or --defaults, not both")
    with _plain_errors():
        folder = project.check_destination(destination)
        saved = Path(f"{folder}.answers.yml")
        is_interview = not (answers or defaults)
        with open_template(template or default_source()) as source:
            questions = Questions.read(source.root, full)
            if is_interview:
                from .interview import run_interview  # the terminal library takes a while to load

                given = run_interview(
                    questions, saved, partial(explain_question, source.root, questions), console
                )
            else:
                given = project.answers_from(answers, questions)
            created = project.create(source, questions, given, folder)
        if is_interview:
            saved.unlink(missing_ok=True)
        for warning in created.warnings:
            typer.echo(f"warning: {warning}", err=True)
        steps = created.next_steps.rstrip().splitlines()
        if setup or (setup is None and is_interview and _confirm(SETUP)):
            set_up(created.folder)
            steps = [step for step in steps if "make setup" not in step]
        console.print("\n".join(steps), soft_wrap=True)


@app.command(epilog="Example: poc2prod estimate --answers examples/payment-fraud.yml")
def estimate(answers: AnswersFile = None, template: TemplateSource = None) -> None:
    """Say what a scope would take, and whether it is possible, without rendering."""
    with _plain_errors(), open_template(template or default_source()) as source:
        questions = Questions.read(source.root)
        estimator = Estimator(questions, project.answers_from(answers, questions))
        console.print(estimator.table())
        console.print(estimator.basis)


@app.command(epilog="Example: poc2prod explain max_latency_p95_ms")
def explain(
    question: Annotated[str, typer.Argument(metavar="KEY", help="A question of the interview.")],
    template: TemplateSource = None,
) -> None:
    """Say what a question is, what it changes in the repo and what teams usually choose."""
    with _plain_errors(), open_template(template or default_source()) as source:
        from rich.markdown import Markdown

        text = explain_question(source.root, Questions.read(source.root), question)
        console.print(Markdown(text))


Folder = Annotated[Path, typer.Argument(metavar="PATH", help="The project.")]


@app.command(epilog="Example: poc2prod update --answer target=hybrid")
def update(
    folder: Folder = Path(),
    to: Annotated[
        str | None, typer.Option(help="A version; `current` to answer anew, and nothing else.")
    ] = None,
    answer: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Answer a question anew.")
    ] = None,
    template: TemplateSource = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    test: Annotated[
        bool, typer.Option(help="Run the project's own `make test` on the result.")
    ] = True,
    merge: Annotated[
        bool | None, typer.Option(help="Take the result at once. Asked on a terminal if left out.")
    ] = None,
) -> None:
    """Bring a project to a newer version of its template, on a branch of its own."""
    from .update import update

    with _plain_errors():
        status = update(
            folder,
            console,
            to=to,
            answers=answer or [],
            template=template,
            dry_run=dry_run,
            test=test,
            merge=merge,
        )
        raise typer.Exit(status)


@app.command(epilog="Example: poc2prod doctor ../scratch-detector")
def doctor(folder: Folder = Path(), template: TemplateSource = None) -> None:
    """Say what is wrong with a project, and the command that mends it."""
    from .doctor import doctor

    with _plain_errors():
        raise typer.Exit(doctor(folder, template, console))


@app.command(epilog="Example: poc2prod adopt --answers answers.yml ../our-old-repo")
def adopt(
    folder: Annotated[Path, typer.Argument(metavar="PATH", help="A git repository.")],
    answers: AnswersFile = None,
    template: TemplateSource = None,
) -> None:
    """Put a repository that is already there under the template, on a branch of its own."""
    from .adopt import adopt

    with _plain_errors():
        raise typer.Exit(adopt(folder, answers, template, console))


@app.command("demo", epilog="Example: poc2prod demo ../poc2prod-demo")
def run_demo(
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", help="A folder that is missing or empty.")
    ] = Path("../poc2prod-demo"),
) -> None:
    """Render the default answers and run them, from data to a served prediction."""
    from . import demo

    with _plain_errors():
        demo.run(destination, console)


def _confirm(question: str) -> bool:
    try:
        return Confirm.ask(question, default=True, console=console)
    except EOFError:
        return False


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Print errors on stderr without a traceback, and exit with their code."""
    try:
        yield
    except Refusal as refusal:
        typer.echo("\n".join(refusal.problems), err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        typer.echo(f"{error.filename or 'poc2prod'}: {error.strerror or error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("Stopped.", err=True)
        raise typer.Exit(130) from None
