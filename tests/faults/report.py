"""What a reconciliation found, for a person and for an assertion."""

from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from tests.faults.book import Difference

SHOWN_DIFFERENCES_MAX = 200


@dataclass(slots=True)
class Report:
    """Totals for a person, and every difference."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def count(self, name: str, value: object) -> None:
        """A row of the table."""
        self.rows.append((name, str(value)))

    def differs(self, text: str, position: int = 0) -> None:
        """Something is not as it must be."""
        self.differences.append(Difference(position, text))

    def show(self, console: Console) -> None:
        """Print the table, then the differences with their log positions."""
        table = Table(title="reconciliation", title_justify="left", show_header=False)
        table.add_column("what", style="cyan")
        table.add_column("value", justify="right")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)
        for difference in self.differences[:SHOWN_DIFFERENCES_MAX]:
            console.print(f"[red]differs[/red] at position {difference.position or '-'}: {difference.text}")
        verdict = "[green]everything agrees[/green]" if self.ok else f"[red]{len(self.differences)} differences[/red]"
        console.print(verdict)

    def told(self) -> str:
        """The differences as lines, for an assertion's message."""
        shown = self.differences[:SHOWN_DIFFERENCES_MAX]
        return "\n".join(f"position {each.position or '-'}: {each.text}" for each in shown)
