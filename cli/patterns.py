"""What commands about accounts, keys and patterns of models share."""

from typing import Annotated

import typer

OwnerArgument = Annotated[str, typer.Argument(metavar="ACCOUNT|KEY", help="acc_… or key_…")]
PatternOption = Annotated[
    str, typer.Option(metavar="PATTERN", help="a model's id, a prefix and * at its end, or * for all")
]
