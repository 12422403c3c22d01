"""Figures side by side: a row for each, with what should hold, as a table and as JSON."""

import statistics
from dataclasses import dataclass


@dataclass
class Limit:
    """What a figure should keep to; `text` is how the table says it."""

    value: float
    is_floor: bool = False

    @property
    def text(self):
        return f"{'>=' if self.is_floor else '<='} {number(self.value)}"

    def holds(self, value):
        return value >= self.value if self.is_floor else value <= self.value


@dataclass
class Ratio:
    """Of one to another, measured in pairs that ran one after the other: the median of the pairs'
    ratios, and where the middle half of them lies. So noise that both met alike cancels out."""

    value: float
    low: float
    high: float
    pairs: int

    @classmethod
    def of_pairs(cls, ours, theirs):
        ratios = [a / b for a, b in zip(ours, theirs)]
        low, high = min(ratios), max(ratios)
        if len(ratios) >= 4:
            low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return cls(statistics.median(ratios), low, high, len(ratios))


@dataclass
class Row:
    what: str
    unit: str = ""
    ours: float = None
    theirs: float = None
    direct: float = None
    ratio: Ratio = None
    limit: Limit = None     # on the ratio; without one, on ours
    note: str = ""
    key: str = None         # of the figure in the JSON

    @property
    def figure(self):
        return self.ratio.value if self.ratio is not None else self.ours

    @property
    def is_ok(self):
        return self.limit.holds(self.figure)

    def cells(self):
        ratio = spread = verdict = ""
        if self.ratio is not None:
            ratio = f"{self.ratio.value:.2f}"
            if self.ratio.pairs > 1:
                spread = f"{self.ratio.low:.2f}-{self.ratio.high:.2f}"
        if self.limit is not None:
            verdict = "ok" if self.is_ok else "MISSED"
        return [self.what, number(self.ours), number(self.theirs), number(self.direct), self.unit,
                ratio, spread, self.limit.text if self.limit is not None else "", verdict,
                self.note]


def number(value):
    """Three digits that count, and no more than are needed."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(ours, theirs, groups):
    """Groups of rows as text, with an empty line between them."""
    heads = ["", ours, theirs, "direct", "", "ratio", "spread", "hold", "", ""]
    blocks = [[row.cells() for row in group] for group in groups if group]
    lines = [heads, *(line for block in blocks for line in block)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    left = {0, 4, 7, 8, 9}

    def text(line):
        return "  ".join(cell.ljust(width) if i in left else cell.rjust(width)
                         for i, (cell, width) in enumerate(zip(line, widths))).rstrip()

    return text(heads) + "\n" + "\n\n".join("\n".join(map(text, block)) for block in blocks)


def figures(rows):
    """{key: figure} of the rows that have a key."""
    return {row.key: round(row.figure, 4) for row in rows if row.key}


def verdict(rows):
    judged = [row for row in rows if row.limit is not None]
    missed = [row.what for row in judged if not row.is_ok]
    if not missed:
        return f"All {len(judged)} figures hold."
    return f"{len(missed)} of {len(judged)} figures missed: " + "; ".join(missed) + "."
