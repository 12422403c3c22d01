"""Prints the house: its folders in order, who may use whom and who does, and how big things are."""

from house.tree import functions

TESTS = (("test/unit", "unit"), ("test/sim", "simulator"), ("test/fuzz", "fuzz"),
         ("test/bench", "benchmarks"), ("test/integration", "integration"), ("tools", "tools"))


def _median(numbers):
    return sorted(numbers)[len(numbers) // 2] if numbers else 0


def _sizes(tree, paths):
    lengths = []
    for path in paths:
        try:
            lengths += [function.lines for function in functions(tree.text(path))]
        except ValueError:
            pass  # a rule reports the file; the shape leaves its functions out
    lines = [tree.text(path).count("\n") for path in paths]
    return sum(lines), max(lines, default=0), lengths


def _folder_table(tree):
    print(f"  {'folder':<10}{'kind':<10}{'.c':>4}{'.h':>4}{'lines':>8}{'longest file':>14}"
          f"{'functions':>11}{'median':>8}{'longest':>9}")
    total = [0, 0, 0, 0]
    for layer in tree.layers.values():
        paths = tree.under(f"src/{layer.name}")
        sources = sum(path.endswith(".c") for path in paths)
        lines, longest, lengths = _sizes(tree, paths)
        print(f"  {layer.name:<10}{layer.kind:<10}{sources:>4}{len(paths) - sources:>4}{lines:>8}"
              f"{longest:>14}{len(lengths):>11}{_median(lengths):>8}{max(lengths, default=0):>9}")
        for index, number in enumerate((sources, len(paths) - sources, lines, len(lengths))):
            total[index] += number
    print(f"  {'':<20}{total[0]:>4}{total[1]:>4}{total[2]:>8}{'':>14}{total[3]:>11}")


def _arrows(tree):
    """{(from, to): number of includes}."""
    arrows = {}
    for layer, path in tree.sources():
        for _, is_system, name in tree.includes(path):
            to = name.split("/")[0]
            if not is_system and to != layer.name and to in tree.layers:
                arrows[layer.name, to] = arrows.get((layer.name, to), 0) + 1
    return arrows


def _arrow_table(tree):
    """A row may use the columns that are not empty in it."""
    arrows = _arrows(tree)
    names = list(tree.layers)
    width = max(6, *(len(name) + 2 for name in names))
    print("  " + " " * 10 + "".join(f"{name:>{width}}" for name in names))
    for layer in tree.layers.values():
        cells = []
        for name in names:
            count = arrows.get((layer.name, name), 0)
            if name == layer.name:
                cell = "."
            elif name in layer.includes:
                cell = str(count) if count else "-"
            else:
                cell = f"!{count}" if count else ""
            cells.append(f"{cell:>{width}}")
        print(f"  {layer.name:<10}" + "".join(cells).rstrip())


def _tests_table(tree):
    for folder, what in TESTS:
        paths = tree.under(folder, ends=(".c", ".h", ".py", ".sh"))
        lines = sum(tree.text(path).count("\n") for path in paths)
        if paths:
            print(f"  {folder:<18}{what:<14}{len(paths):>4} files{lines:>8} lines")


def print_shape(tree):
    if tree.layers_error:
        print(f"src/LAYERS cannot be read: {tree.layers_error}")
        return
    print("The house, lowest folder first (src/LAYERS)\n")
    _folder_table(tree)
    print("\nArrows: a row may include a column. The number of includes, - allowed but not in use,"
          "\n. itself, ! not allowed\n")
    _arrow_table(tree)
    print("\nAround it\n")
    _tests_table(tree)
