"""The command line. Exit codes: 0 done, 1 refused, 2 wrong usage, 130 stopped by Ctrl-C."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from . import __version__, demo, project
from .refusal import Refusal

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Example: poc2prod new --defaults ../scratch-detector",
)
# No markup: a folder or a gate may be called anything, `latency p95 [ms]` for one.
console = Console(highlight=False, markup=False)


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


@app.command(epilog="Example: poc2prod new --answers examples/payment-fraud.yml ../payment-fraud")
def new(
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", help="A folder that is missing or empty.")
    ],
    answers: Annotated[
        Path | None,
        typer.Option(help="A YAML file of answers; what it leaves out takes its default."),
    ] = None,
    defaults: Annotated[bool, typer.Option("--defaults", help="Take every default.")] = False,
    template: Annotated[
        str | None,
        typer.Option(help="A folder or git address; or set POC2PROD_TEMPLATE."),
    ] = None,
) -> None:
    """Create a project from a file of answers: all of it, or nothing."""
    if not (answers or defaults):
        raise typer.BadParameter("give --answers FILE, or --defaults to take every default")
    with _plainly():
        created = project.create(destination, answers, template)
        for warning in created.warnings:
            typer.echo(f"warning: {warning}", err=True)
        console.print(created.next_steps.rstrip(), soft_wrap=True)


@app.command("demo", epilog="Example: poc2prod demo ../poc2prod-demo")
def run_demo(
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", help="A folder that is missing or empty.")
    ] = Path("../poc2prod-demo"),
) -> None:
    """Render the default answers and run them, from data to a served prediction."""
    with _plainly():
        demo.run(destination, console)


@contextmanager
def _plainly() -> Iterator[None]:
    """Say on stderr, without a traceback, why nothing came of it."""
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
