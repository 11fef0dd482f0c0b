"""The command line of `onysoft`: its commands, and what an error looks like."""

import sys
from typing import Annotated

import typer
from pydantic import ValidationError

from cli import (
    accounts,
    analytics,
    archive,
    fx,
    keys,
    ledger,
    limits,
    markups,
    models,
    operate,
    rebuild,
    reconcile,
    simulate,
    statements,
    tasks,
)
from cli.client import CallFailed
from cli.instance import NoInstance
from cli.main import PROCESSES
from cli.processes import refusal, start
from cli.session import Session

EXIT_FAILED = 1
EXIT_USAGE = 2

_VALUED = ("--data", "--actor")

app = typer.Typer(
    name="onysoft",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Operate the gateway. Amounts are decimals in the account's currency.",
)
app.add_typer(accounts.accounts, name="account")
app.add_typer(keys.keys, name="key")
app.add_typer(limits.limits, name="limits")
app.add_typer(markups.markups, name="markup")
models.models.command("block")(limits.block)
models.models.command("unblock")(limits.unblock)
app.command("balance")(accounts.balance)
app.add_typer(fx.fx, name="fx")
app.add_typer(models.models, name="models")
app.add_typer(tasks.tasks, name="tasks")
archive.add_to(ledger.ledger)
statements.add_to(ledger.ledger)
app.command("statement")(statements.statement)
app.command("reconcile")(reconcile.reconcile)
app.add_typer(rebuild.rebuild, name="rebuild")
app.command("simulate")(simulate.simulate)
app.add_typer(ledger.ledger, name="ledger")
app.command("config")(operate.config)
app.command("status")(operate.status)


@app.callback()
def root(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="one JSON document on stdout; may stand anywhere")] = False,
    data: Annotated[str | None, typer.Option(help="data folder of the instance; may stand anywhere")] = None,
    actor: Annotated[
        str | None, typer.Option(help="who does this, as an id that the ledger keeps; may stand anywhere")
    ] = None,
) -> None:
    """Options that every command has."""
    context.obj.json = json
    context.obj.data = data
    context.obj.actor = actor or ""


def _add_process(kind: str) -> None:
    def command() -> None:
        raise typer.Exit(start(kind, []))

    app.command(kind, help=f"Run one {kind} process from ONYSOFT_… settings.", rich_help_panel="Processes")(command)


for _kind in PROCESSES:
    if _kind != "analytics":
        _add_process(_kind)
app.add_typer(analytics.analytics, name="analytics", rich_help_panel="Processes")
app.command("query", context_settings={"ignore_unknown_options": True})(analytics.query)


def run(words: list[str]) -> int:
    """Run one command; the exit code: 0, 1 when it failed, 2 when it was not understood."""
    words = global_options_first(words) or ["--help"]
    session = Session(json="--json" in words, data=None)
    try:
        done = typer.main.get_command(app).main(words, prog_name="onysoft", standalone_mode=False, obj=session)
        return done if isinstance(done, int) else 0
    except CallFailed as error:
        return _fail(session, error.code, error.message, EXIT_FAILED)
    except NoInstance as error:
        return _fail(session, "no_instance", str(error), EXIT_FAILED)
    except ValidationError as error:
        return _fail(session, "wrong_setting", refusal(error).strip(), EXIT_USAGE)
    except typer.TyperException as error:
        return _fail(session, "usage", error.format_message(), EXIT_USAGE)
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_FAILED
    finally:
        session.close()


def global_options_first(words: list[str]) -> list[str]:
    """`balance ACC --json --data DIR` → `--json --data DIR balance ACC`."""
    moved: list[str] = []
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            kept += ["--", *rest]
        elif word == "--json":
            moved.append(word)
        elif word in _VALUED:
            moved += [word, *[value for value in [next(rest, None)] if value is not None]]
        elif word.startswith(tuple(f"{option}=" for option in _VALUED)):
            moved.append(word)
        else:
            kept.append(word)
    return moved + kept


def _fail(session: Session, code: str, message: str, exit_code: int) -> int:
    if session.json:
        session.write({"error": {"code": code, "message": message}})
    sys.stderr.write(f"onysoft: {message}\n")
    return exit_code
