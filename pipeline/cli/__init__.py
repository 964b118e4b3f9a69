"""The command `webperson`: the only place that knows curation, training and the made world."""

import os
import signal
import sys
import traceback

import typer

from pipeline.cli.curate import curate
from pipeline.cli.demo import demo
from pipeline.cli.judge_eval import judge_eval
from pipeline.cli.options import UsageError
from pipeline.cli.plan import plan
from pipeline.cli.report import report
from pipeline.cli.serve import serve
from pipeline.cli.templates import templates_app
from pipeline.cli.train import evaluate, train
from pipeline.recipe import RecipeError

FAILURE, USAGE = 1, 2
INTERRUPTED = 130


def build_app() -> typer.Typer:
    """The commands, each with an example under its help."""
    app = typer.Typer(
        help="From a list of image URLs to a person-retrieval model. With --debug, errors show a traceback.",
        no_args_is_help=True,
        rich_markup_mode="markdown",  # a paragraph of a docstring is shown as one
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.command(epilog="Example: webperson demo --out out/demo")(demo)
    app.command(epilog="Example: webperson curate recipes/laptop.yaml --urls mylist.txt --out out/")(curate)
    app.command(epilog="Example: webperson plan recipes/laptop.yaml --urls mylist.txt --out out/")(plan)
    app.command(epilog="Example: webperson report out/")(report)
    app.command(epilog="Example: webperson serve recipes/webperson-1m.yaml --address auto --port 8000")(serve)
    app.command(epilog="Example: webperson judge-eval out/ --sample 200")(judge_eval)
    app.add_typer(templates_app(), name="templates")
    app.command(epilog="Example: webperson train recipes/laptop.yaml --shards out/ --out out/train")(train)
    app.command(epilog="Example: webperson evaluate out/train --shards out/ --split test")(evaluate)
    return app


def main() -> None:
    """Run the command; an error is one line on stderr. Exit codes: 0 done, 2 wrong usage, 3 done
    but over the error budget, 1 anything else.
    """
    # `--debug` may stand anywhere, so it is taken before the commands read their options.
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    signal.signal(signal.SIGTERM, _stop)
    try:
        code = build_app()(arguments, prog_name="webperson", standalone_mode=False)
    except typer.TyperException as error:
        error.show()  # type: ignore[attr-defined]  # of wrong usage
        sys.exit(USAGE)
    except Exception as error:
        sys.exit(_explain(error, debug))
    if code == INTERRUPTED:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(FAILURE)
    sys.exit(code)


def _stop(*_: object) -> None:
    """A supervisor's SIGTERM stops a run as Ctrl-C does: workers are ended and the lock is let go."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # left in the background by a shell
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.kill(os.getpid(), signal.SIGINT)


def _explain(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    text = " ".join(str(error).split())
    # Our own errors are sentences; those of libraries often say what only beside their type.
    ours = type(error).__module__.split(".")[0] in ("pipeline", "curation", "training", "world")
    parts = [text] if ours and text else [type(error).__name__, *([text] if text else [])]
    print(": ".join(["error", *parts]), file=sys.stderr)
    return USAGE if isinstance(error, UsageError | RecipeError) else FAILURE
