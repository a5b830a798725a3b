"""Markdown tables, printed as they grow, and at the end put into benchmarks/README.md between their markers."""

import argparse
from pathlib import Path

README = Path(__file__).parent / "README.md"


class Report:
    """Lines of one script. With `--readme` they replace what is between its two markers there."""

    def __init__(self, name: str) -> None:
        self.markers = f"<!-- {name} -->", f"<!-- end of {name} -->"
        self.lines: list[str] = []

    def say(self, line: str = "") -> None:
        """Print a line, and keep it."""
        print(line, flush=True)
        self.lines.append(line)

    def publish(self) -> None:
        """Put the lines into the README."""
        before, _, rest = README.read_text().partition(self.markers[0])
        _, _, after = rest.partition(self.markers[1])
        README.write_text("\n".join([before + self.markers[0], *self.lines, self.markers[1] + after]))


def arguments(description: str) -> argparse.ArgumentParser:
    """Options of a script, with the one that all have."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--readme", action="store_true", help="write the tables into benchmarks/README.md")
    return options
