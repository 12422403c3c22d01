#!/usr/bin/python3
"""A test of the test: breaks each invariant on purpose and demands that the simulator says so.

    test/sim/mutations.py [--only TEXT] [--jobs N]

Each mutation below is a small mistake in a copy of the sources: a text that must stand in a file
exactly once, and what replaces it. The simulator is built with it and run over fixed seeds; it must
stop, and name an invariant that the mutation is known to break. A mutation whose text is not found
any more fails too, so the list cannot rot.

Prints a line for each mutation, `ok` or `not ok`, and exits with 1 if one was not caught.
"""

import argparse
import concurrent.futures
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SEEDS = "1-3000"
SECONDS_MAX = 120
CFLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g0", "-w"]

# name: (invariants of which one must break, [(file, what stands there, what comes instead)])
MUTATIONS = {
    "a permit is not given back": (
        "PERMITS_CONSERVED", [
            ("core/guard.c",
             "    guard_release(call, &call->permit);\n"
             "    enum outcome_endpoint",
             "    enum outcome_endpoint"),
        ]),
    "one permit more than the limit": (
        "LIMIT_HELD", [
            ("core/bulkhead.h",
             "    if (in_use >= bulkhead_word_limit(word))\n"
             "        return false;\n"
             "    *next = word + 1;",
             "    if (in_use > bulkhead_word_limit(word))\n"
             "        return false;\n"
             "    *next = word + 1;"),
        ]),
    "half-open grants every lease there is": (
        "PROBES_BOUNDED", [
            ("core/breaker.c",
             "((UINT32_C(1) << rules->half_open_calls) - 1)",
             "((UINT32_C(1) << BREAKER_LEASES) - 1)"),
        ]),
    "an expired lease is not noticed": (
        "HALF_OPEN_ENDS", [
            ("core/breaker.c",
             "return (breaker_word_leases(word) & event->expired) != 0;",
             "return false;"),
        ]),
    "a breaker's refusal is not listened to": (
        "OPEN_HOLDS", [
            ("core/guard_place.c",
             "    if (breaker == NULL || breaker_admit(breaker, call->now_ns, &call->lease)) {",
             "    if (breaker == NULL || (breaker_admit(breaker, call->now_ns, &call->lease), "
             "true)) {"),
            ("core/guard_place.c",
             "!breaker_would_admit(use->breaker, call->now_ns)",
             "false"),
        ]),
    "a late result counts for the state it meets": (
        "STALE_INERT", [
            ("core/breaker.c",
             "    if (event->generation != breaker_word_generation(word))\n"
             "        return stale;\n",
             "    if (state == BREAKER_CLOSED)\n"
             "        return normal_result(word, rules, event);\n"
             "    if (state == BREAKER_HALF_OPEN)\n"
             "        return probe_result(word, rules, event);\n"),
        ]),
    "retries are not paid for": (
        "BUDGET_HELD", [
            ("core/guard.c",
             "if (!budget_try_withdraw(call->guard->budget, call->now_ns)) {",
             "if (budget_try_withdraw(call->guard->budget, call->now_ns), false) {"),
            ("core/guard_answer.c",
             "        budget_refund(call->guard->budget);\n",
             ""),
        ]),
    "a grant is used without another look at the roles": (
        "WRITE_TO_PRIMARY", [
            ("core/guard_place.c",
             "    return is_allowed(call, view) && route_allows(view, &call->request.route, "
             "call->endpoint);",
             "    return is_allowed(call, view);"),
        ]),
    "a grant is used without another look at the level": (
        "LEVEL_OBEYED", [
            ("core/guard_place.c",
             "    return is_allowed(call, view) && route_allows(view, &call->request.route, "
             "call->endpoint);",
             "    return route_allows(view, &call->request.route, call->endpoint);"),
        ]),
    "everything may be repeated": (
        "NO_FORBIDDEN_REPEAT APPLIED_ONCE TRUE_ANSWER", [
            ("core/guard.c",
             "    enum outcome_may may = outcome_repeat(rule, &call->facts);",
             "    enum outcome_may may = OUTCOME_MAY_ATTEMPT;"),
        ]),
    "a lost commit is sent again": (
        "APPLIED_ONCE NO_FORBIDDEN_REPEAT TRUE_ANSWER", [
            ("core/guard.c",
             "    if (may == OUTCOME_MAY_RESOLVE)\n"
             "        resolve(call);\n"
             "    else if",
             "    if (may == OUTCOME_MAY_RESOLVE)\n"
             "        try_again(call, event, OUTCOME_MAY_ATTEMPT, rule->kind);\n"
             "    else if"),
        ]),
    "an unknown commit is called failed": (
        "TRUE_ANSWER", [
            ("core/guard.c",
             "    bool is_unknown = call->facts.commit_sent && call->facts.may_write;",
             "    bool is_unknown = false;"),
        ]),
    "a session's promise is not looked at": (
        "PROMISE_KEPT", [
            ("core/route.c",
             "        demand.position_min = promised_position(view, &request->promise);",
             "        demand.position_min = 0;"),
        ]),
    "what ends after the answer is answered again": (
        "ANSWERED_ONCE", [
            ("core/guard_answer.c",
             "    guard_push(call, GUARD_ACT_FREE)->last = true;",
             "    guard_push(call, GUARD_ACT_DONE)->last = true;"),
        ]),
    "an attempt may outlive the call": (
        "ANSWERED_IN_TIME", [
            ("core/guard_place.c",
             "        ns_min(call->deadline_ns,\n"
             "               ns_min(ns_add(call->now_ns",
             "        ns_min(call->deadline_ns + HF_MS(5),\n"
             "               ns_min(ns_add(call->now_ns"),
        ]),
    "the level is not asked": (
        "LEVEL_OBEYED", [
            ("core/guard_place.c",
             "    return ladder == NULL ||",
             "    return ladder != NULL ||"),
        ]),
    "a held call asks all the time": (
        "PROGRESS", [
            ("core/guard_place.c",
             "ns_max(ask_again_ns, call->now_ns + ASK_AGAIN_NS_MIN)",
             "call->now_ns + HF_US(10)"),
        ]),
    "a place in the hold is not given back": (
        "ALL_ENDED", [
            ("core/guard_answer.c",
             "    bool freed = bulkhead_release(call->guard->hold, &call->hold_permit, "
             "call->now_ns);\n",
             "    bool freed = true;\n"),
        ]),
    "half-open never closes": (
        "BREAKERS_CLOSE", [
            ("core/breaker.c",
             "    if (successes + 1 >= rules->success_threshold)\n",
             "    if (false)\n"),
        ]),
    "the ladder only goes down": (
        "LADDER_RETURNS", [
            ("core/degrade.c",
             "        if (rise_ns(d, better) <= d->now_ns)\n"
             "            return better;",
             "        ;"),
        ]),
    "the ladder climbs later than it should": (
        "LADDER_RETURNS", [
            ("core/degrade.c",
             "    return ns_add(d->since_ns[level], d->config.stable_ns);",
             "    return ns_add(d->since_ns[level], 3 * d->config.stable_ns);"),
        ]),
    "an endpoint that failed a client once is never used again": (
        "SERVED_AGAIN", [
            ("core/guard.c",
             "    call->tried = 0;\n",
             ""),
            ("core/guard_place.c",
             "    request->exclude = 0;\n",
             "    request->exclude = call->tried;\n"),
        ]),
    "a backend that still runs is called aborted": (
        "TRUE_COMMIT", [
            ("core/commit.c",
             "        return finding(COMMIT_VERDICT_AGAIN, COMMIT_WHY_STILL_RUNNING);",
             "        return finding(COMMIT_VERDICT_ABORTED, COMMIT_WHY_STILL_RUNNING);"),
        ]),
    "a crash is taken to lose nothing": (
        "TRUE_COMMIT", [
            ("core/commit.c",
             "    if (recovered != 0 && recovered <= probe->lsn)\n"
             "        return finding(COMMIT_VERDICT_ABORTED, COMMIT_WHY_CUT_OFF);\n",
             ""),
        ]),
    "a crash inside the same postmaster is not noticed": (
        "TRUE_COMMIT", [
            ("core/commit.c",
             "a->recovered_lsn == b->recovered_lsn",
             "true"),
        ]),
    "a failover is taken to lose nothing": (
        "TRUE_COMMIT COMMIT_KEPT", [
            ("core/commit.c",
             "    if (is_cut_off)\n"
             "        return finding(COMMIT_VERDICT_ABORTED, COMMIT_WHY_CUT_OFF);\n",
             ""),
        ]),
    "the end of a recovery is taken for the switch": (
        "TRUE_COMMIT", [
            ("core/commit.c",
             "    if (left == NULL)\n"
             "        return finding(COMMIT_VERDICT_HISTORY, COMMIT_WHY_SWITCH_UNKNOWN);\n",
             ""),
        ]),
    "an id that may have been given out again is believed": (
        "TRUE_COMMIT", [
            ("core/commit.c",
             "    if (recovered != 0 && !probe->is_marked)\n",
             "    if (false)\n"),
            ("core/commit.c",
             "    if (!probe->is_marked)\n",
             "    if (false)\n"),
        ]),
    "a former primary is believed": (
        "TRUE_COMMIT", [
            ("core/commit.c",
             "    if (view != NULL && view->primary == commit->endpoint && "
             "was_looked_at(commit, view))\n",
             "    if (true)\n"),
        ]),
    "a look from before the answer counts": (
        "TRUE_COMMIT", [
            ("core/commit.c",
             "        if (looked_ns <= commit->answered_ns)\n"
             "            return false;\n",
             "        (void)looked_ns;\n"),
        ]),
    "standbys are not asked to confirm": (
        "COMMIT_KEPT TRUE_COMMIT", [
            ("core/commit.c",
             "    if (!commit->answer.is_synchronous) {",
             "    if (true) {"),
        ]),
    "a backend that hangs is waited for for ever": (
        "RESOLVED", [
            ("core/commit.c",
             "    if (commit->now_ns - commit->ran_since_ns < commit->config.patience_ns) {",
             "    if (true) {"),
        ]),
    "a question that failed is the last": (
        "RESOLVED", [
            ("core/commit.c",
             "    commit->until_ns = ns_add(commit->now_ns, commit->config.again_ns);",
             "    commit->until_ns = HF_NEVER;"),
        ]),
}


def objects_of(tree, out, only=None):
    """Compiles the sources below tree (all, or the named ones) into out."""
    jobs = []
    for folder in ("base", "core", "sim"):
        root = tree / "test" / "sim" if folder == "sim" else tree / "src" / folder
        for source in sorted(root.glob("*.c")):
            if only is None or source.name in only:
                jobs.append((source, out / (source.stem + ".o")))
    for source, target in jobs:
        command = ["gcc", *CFLAGS, "-I", str(tree / "src"), "-I", str(tree / "test" / "sim"),
                   "-c", str(source), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{source.name} does not compile:\n{done.stderr[:1500]}")


def link_and_run(out):
    program = out / "sim"
    done = subprocess.run(["gcc", *map(str, sorted(out.glob("*.o"))), "-o", str(program)],
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError("the simulator does not link:\n" + done.stderr[:1500])
    try:
        return subprocess.run([str(program), "--seeds", SEEDS, "--quiet"], capture_output=True,
                              text=True, timeout=SECONDS_MAX).stdout
    except subprocess.TimeoutExpired:
        return "timed out"


def plant(tree, edits):
    """Makes the edits; the names of the sources that have to be compiled again (None: all)."""
    changed = set()
    for name, old, new in edits:
        path = tree / "src" / name
        text = path.read_text(encoding="ascii")
        if text.count(old) != 1:
            raise RuntimeError(f"src/{name} has this text {text.count(old)} times:\n{old}")
        path.write_text(text.replace(old, new), encoding="ascii")
        changed.add(path.name)
    return None if any(name.endswith(".h") for name in changed) else changed


def try_one(name, base):
    expected, edits = MUTATIONS[name]
    with tempfile.TemporaryDirectory(prefix="mutation.") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(base, tree)
        changed = plant(tree, edits)
        objects_of(tree, tree / "objects", changed)
        printed = link_and_run(tree / "objects")
    broken = re.search(r"^BROKEN (\w+)\n(.*)", printed, re.MULTILINE)
    if broken is None:
        return f"not caught: no invariant of seeds {SEEDS} broke\n{printed}"
    if broken[1] not in expected.split():
        return f"caught as {broken[1]}, expected {expected}\n{broken[2]}"
    return None


def run(name, base):
    began = time.monotonic()
    try:
        problem = try_one(name, base)
    except RuntimeError as error:
        problem = str(error)
    return name, problem, time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="TEXT", help="those whose name or invariant has it")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    names = [name for name, (expected, _) in MUTATIONS.items()
             if options.only is None or options.only in name or options.only in expected]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="mutations.") as folder:
        base = Path(folder) / "base"
        (base / "objects").mkdir(parents=True)
        for part in ("src/base", "src/core", "test/sim"):
            shutil.copytree(ROOT / part, base / part)
        objects_of(base, base / "objects")
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for name, problem, seconds in pool.map(lambda name: run(name, base), names):
                failed += problem is not None
                print(f"{'not ok' if problem else 'ok'} {seconds:.2f} mutation: {name}"
                      f" ({MUTATIONS[name][0].split()[0]})", flush=True)
                if problem:
                    print("    " + problem.strip().replace("\n", "\n    "), flush=True)
    sys.exit(1 if failed or not names else 0)


main()
