"""The command line. Exit codes: 0 success, 1 error, 2 wrong usage, 130 interrupted."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.prompt import Confirm

from . import __version__, given_model, project
from .estimate import Estimator, doubt
from .explain import explain_question
from .make import set_up
from .next_steps import with_install
from .output import markdown, plain, plain_lines
from .pytorch import choose_build
from .questions import Questions
from .refusal import Refusal
from .template import default_source, open_template

SETUP = "Set it up now (environment, git, hooks, first commit)?"

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Example: poc2prod new --defaults ../scratch-detector",
)
# No markup: the name of a folder or a gate may contain [brackets] or :colons:.
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
    """Turn a deep-learning proof of concept into a production repository."""
    # SIGTERM, and SIGHUP from a closed terminal, clean up like Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


AnswersFile = Annotated[
    Path | None,
    typer.Option("--answers", help="A YAML file with answers; other questions get their defaults."),
]
TemplateSource = Annotated[
    str | None,
    typer.Option("--template", help="A folder or git address; or set POC2PROD_TEMPLATE."),
]


@app.command(epilog="Example: poc2prod new ../payment-fraud")
def new(
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="A new or empty folder.")],
    answers: AnswersFile = None,
    defaults: Annotated[bool, typer.Option("--defaults", help="Accept all defaults.")] = False,
    full: Annotated[
        bool, typer.Option("--full/--quick", help="Ask all 28 questions, or the 10 most important.")
    ] = False,
    setup: Annotated[
        bool | None,
        typer.Option(help="Create environment, git, hooks, first commit. Asks if not given."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A trained model, like best.onnx or best.keras: the project takes it in.",
        ),
    ] = None,
    template: TemplateSource = None,
) -> None:
    """Create a project from the scoping interview or an answers file."""
    if answers and defaults:
        raise typer.BadParameter("give --answers FILE or --defaults, not both")
    with _plain_errors():
        folder = project.check_destination(destination)
        saved = Path(f"{folder}.answers.yml")
        is_interview = not (answers or defaults)
        brought = given_model.find_files(model) if model else []
        with open_template(template or default_source()) as source:
            questions = choose_build(Questions.read(source.root, full))
            if model:
                questions = given_model.offer(questions, model)
            if is_interview:
                from .interview import run_interview  # the terminal library loads slowly

                questions = project.name_from(folder, questions)

                given = run_interview(
                    questions, saved, partial(explain_question, source.root, questions), console
                )
            else:
                given = project.answers_from(answers, questions)
            if model:
                given = given_model.settle(given, model)
            created = project.create(source, questions, given, folder, brought)
        if is_interview:
            saved.unlink(missing_ok=True)
        doubts = [] if is_interview else [doubt(questions, given, name) for name in given]
        for warning in created.warnings + list(filter(None, doubts)):
            typer.echo(plain_lines(f"warning: {warning}"), err=True)
        steps = created.next_steps.rstrip().splitlines()
        if setup or (setup is None and is_interview and _confirm(SETUP)):
            set_up(created.folder)
            steps = [step for step in steps if "make setup" not in step]
        if model:
            steps = given_model.with_data(steps, created.answers)
        console.print("\n".join(map(plain, with_install(steps))), soft_wrap=True)


@app.command(epilog="Example: poc2prod estimate --answers examples/payment-fraud.yml")
def estimate(answers: AnswersFile = None, template: TemplateSource = None) -> None:
    """Estimate the latency, servers, devices and cost of a scope."""
    with _plain_errors(), open_template(template or default_source()) as source:
        questions = Questions.read(source.root)
        estimator = Estimator(questions, project.answers_from(answers, questions))
        console.print(estimator.table())
        console.print(plain_lines(estimator.basis))


@app.command(epilog="Example: poc2prod explain max_latency_p95_ms")
def explain(
    question: Annotated[str, typer.Argument(metavar="KEY", help="The key of a question.")],
    template: TemplateSource = None,
) -> None:
    """Explain a question: what it is, what it changes, what teams usually choose."""
    with _plain_errors(), open_template(template or default_source()) as source:
        text = explain_question(source.root, Questions.read(source.root), question)
        console.print(markdown(text))


Folder = Annotated[Path, typer.Argument(metavar="PATH", help="The project folder.")]


@app.command(epilog="Example: poc2prod update --answer target=hybrid")
def update(
    folder: Folder = Path(),
    to: Annotated[
        str | None, typer.Option(help="A version, or `current` to change answers only.")
    ] = None,
    answer: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Change an answer.")
    ] = None,
    template: TemplateSource = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the changes only.")] = False,
    test: Annotated[
        bool | None,
        typer.Option(help="Run the `make test` of the result. Asks on a terminal if not given."),
    ] = None,
    merge: Annotated[
        bool | None, typer.Option(help="Merge the result. Asks on a terminal if not given.")
    ] = None,
) -> None:
    """Update a project to a newer version of its template, on a new branch."""
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
    """Check a project and print a command to fix each problem."""
    from .doctor import doctor

    with _plain_errors():
        raise typer.Exit(doctor(folder, template, console))


@app.command(epilog="Example: poc2prod adopt --answers answers.yml ../our-old-repo")
def adopt(
    folder: Annotated[Path, typer.Argument(metavar="PATH", help="A git repository.")],
    answers: AnswersFile = None,
    template: TemplateSource = None,
) -> None:
    """Add the template to an existing repository, on a new branch."""
    from .adopt import adopt

    with _plain_errors():
        raise typer.Exit(adopt(folder, answers, template, console))


@app.command("demo", epilog="Example: poc2prod demo ../poc2prod-demo")
def run_demo(
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", help="A new or empty folder.")
    ] = Path("../poc2prod-demo"),
) -> None:
    """Create a project with default answers, train it, serve a prediction (2 minutes)."""
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
    """Print errors to stderr without a traceback, and exit with the code of the error."""
    try:
        yield
    except Refusal as refusal:
        typer.echo("\n".join(map(plain_lines, refusal.problems)), err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        message = f"{error.filename or 'poc2prod'}: {error.strerror or error}"
        typer.echo(plain_lines(message), err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("Stopped.", err=True)
        raise typer.Exit(130) from None
