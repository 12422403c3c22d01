"""Who may include whom: src/LAYERS against every #include."""

UMBRELLA_INCLUDES_MAX = 12  # a header that pulls in more of ours than this has lost its one idea


def layers_are_in_order(tree):
    if tree.layers_error:
        yield f"src/LAYERS:1: {tree.layers_error}"
        return
    folders = {path.split("/")[1] for path in tree.under("src") if path.count("/") > 1}
    for folder in sorted(folders - set(tree.layers)):
        yield f"src/LAYERS:1: src/{folder} has sources but no line here"
    for layer in tree.layers.values():
        for path, grant in layer.grants.items():
            if path not in tree.files:
                yield f"src/LAYERS:{grant.line}: {path} does not exist"
    seen = {}
    for layer in tree.layers.values():
        place = f"src/LAYERS:{layer.line}"
        for name in layer.includes:
            if name not in seen:
                yield f"{place}: {layer.name} may not include {name}, which does not stand above it"
            elif layer.is_pure and not seen[name].is_pure:
                yield f"{place}: {layer.name} is pure and may not include {name}, which is not"
            elif layer.kind == "driver" and seen[name].kind == "driver":
                yield f"{place}: {layer.name} and {name} are drivers and may not include each other"
        seen[layer.name] = layer


def includes_follow_the_layers(tree):
    """Ours: "folder/file.h", from the own folder or one that src/LAYERS lists for it."""
    for layer, path in tree.sources():
        for line, is_system, name in tree.includes(path):
            if is_system:
                continue
            folder = name.split("/")[0]
            if name.count("/") != 1 or not (tree.root / "src" / name).is_file():
                if not (tree.root / "include" / name).is_file() or layer.is_pure:
                    yield f'{path}:{line}: "{name}" is not written as "folder/file.h" of src'
            elif not name.endswith(".h"):
                yield f"{path}:{line}: {path} may not include {name}: only headers are included"
            elif folder != layer.name and folder not in layer.includes:
                yield f"{path}:{line}: {layer.name} may not include {folder} ({name})"


def private_headers_stay_home(tree):
    """x_int.h is for its own folder, and for the unit tests. One named without a folder is found in
    that of the file itself."""
    for path in tree.under("src", "test", "include"):
        if path.startswith("test/unit/"):
            continue
        for line, _, name in tree.includes(path):
            home = f"src/{name.split('/')[0]}/" if "/" in name else path
            if name.endswith("_int.h") and not path.startswith(home):
                yield f"{path}:{line}: {path} may not include {name}: it is private to its folder"


def own_header_comes_first(tree):
    """So that the header is known to compile without what others include before it."""
    for _, path in tree.sources():
        header = path[len("src/"):-2] + ".h"
        if path.endswith(".c") and (tree.root / "src" / header).is_file():
            first = next(tree.includes(path), (1, False, "nothing"))
            if first[2] != header:
                yield f"{path}:{first[0]}: includes {first[2]} before its own header {header}"


def no_umbrella_headers(tree):
    for path in tree.under("src", "include", ends=".h"):
        ours = [name for _, is_system, name in tree.includes(path) if not is_system]
        rest = [line for line in tree.code(path).splitlines()
                if line.strip() and not line.strip().startswith("#")]
        defines = [line for line in tree.code(path).splitlines() if "#define" in line]
        if len(ours) > 1 and not rest and len(defines) <= 1:
            yield f"{path}:1: a header that only includes others: include what is used instead"
        if len(ours) > UMBRELLA_INCLUDES_MAX:
            yield (f"{path}:1: includes {len(ours)} of our headers, more than "
                   f"{UMBRELLA_INCLUDES_MAX}: it gathers, or it has more than one idea")


def system_headers_of_pure_folders(tree):
    """What a pure folder includes is what it could come to use."""
    for layer, path in tree.sources(pure_only=True):
        for line, is_system, name in tree.includes(path):
            if not is_system:
                continue
            if name not in layer.headers_of(path):
                yield f"{path}:{line}: {layer.name} is pure and may not include <{name}>"
            elif name == "stdio.h" and not (path.endswith(".c") and "snprintf" in tree.code(path)):
                yield f"{path}:{line}: <stdio.h> is only for a .c file that calls snprintf"
            elif name == "stdatomic.h" and not path.endswith("_mt.h"):
                yield f"{path}:{line}: <stdatomic.h> is only for *_mt.h"
