# shellcheck shell=bash
# How ./check runs its rows, counts and prints. To be sourced; knows nothing of what is checked.
#
# A check is a function that prints one line for each test it made:
#
#     ok SECONDS NAME          skip SECONDS NAME          not ok SECONDS NAME
#
# with what a person needs under the line, indented by four spaces. Its exit status says whether it
# got to its end. Nothing else is believed: a function that fails without a `not ok`, or that prints
# no test at all, counts as one failure. So a crash, a missing program or an empty list of tests can
# never look like success.

engine_passed=0
engine_failed=0
engine_skipped=0
engine_failures=()
engine_jobs=()

# Where outputs wait to be read; gone with this shell.
engine_logs=$(mktemp -d)
trap 'rm -rf "$engine_logs"' EXIT

# Every program started from here carries this mark in its environment; whatever still carries it at
# the end was left behind by a test.
export HOLDFAST_CHECK_RUN=$$-$EPOCHSECONDS

engine_clock() {
    printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60))
}

# engine_heading TEXT
engine_heading() {
    printf '\n[%s] %s\n' "$(engine_clock)" "$1"
}

# Since a time in microseconds (${EPOCHREALTIME/[.,]/}), as seconds with two decimals.
engine_since() {
    local us=$((${EPOCHREALTIME/[.,]/} - $1))
    printf '%d.%02d' $((us / 1000000)) $((us % 1000000 / 10000))
}

# one NAME COMMAND...: makes one test of a command. Its output is shown only when it fails; with
# tell=PATTERN before it, the last line that matches is shown also when it does not. Returns the
# command's status, so that what builds upon it can be left out.
one() {
    local name=$1 log status=0 start=${EPOCHREALTIME/[.,]/}
    shift
    log=$(mktemp "$engine_logs/one.XXXXXX")
    "$@" >"$log" 2>&1 </dev/null || status=$?
    if [ "$status" = 0 ]; then
        printf 'ok %s %s\n' "$(engine_since "$start")" "$name"
        [ -z "${tell:-}" ] || grep -E "$tell" "$log" | tail -n 1 | sed 's/^/    /'
    else
        printf 'not ok %s %s\n' "$(engine_since "$start")" "$name"
        tail -n 60 "$log" | sed 's/^/    /'
        printf '    exit status %d of: %s\n' "$status" "$*"
    fi
    rm -f "$log"
    return "$status"
}

# pairwise FUNCTION ARGUMENT...: the function for each argument, two at a time.
pairwise() {
    local function=$1 other
    shift
    while [ $# -gt 0 ]; do
        if [ $# -gt 1 ]; then
            other=$(mktemp "$engine_logs/pair.XXXXXX")
            ("$function" "$2") >"$other" 2>&1 </dev/null &
            "$function" "$1"
            wait $!
            cat "$other"
            shift
        else
            "$function" "$1"
        fi
        shift
    done
}

# engine_count: reads a check's lines, counts them and prints them in columns.
engine_count() {
    local line rest
    while IFS= read -r line; do
        case $line in
        'ok '*)
            rest=${line#ok }
            engine_passed=$((engine_passed + 1))
            printf '  ok   %7s s  %s\n' "${rest%% *}" "${rest#* }"
            ;;
        'skip '*)
            rest=${line#skip }
            engine_skipped=$((engine_skipped + 1))
            printf '  skip %7s s  %s\n' "${rest%% *}" "${rest#* }"
            ;;
        'not ok '*)
            rest=${line#not ok }
            engine_fail "${rest#* }"
            printf '  FAIL %7s s  %s\n' "${rest%% *}" "${rest#* }"
            ;;
        *)
            printf '  %s\n' "$line"
            ;;
        esac
    done
}

engine_fail() {
    engine_failed=$((engine_failed + 1))
    engine_failures+=("$1")
}

# engine_judge HEADING STATUS BEFORE: what the lines of a check did not say. BEFORE is the number of
# results there were when it started.
engine_judge() {
    if [ "$2" != 0 ] && [ "$engine_failed" = "${3#*/}" ]; then
        engine_fail "$1: ended early"
        printf '  FAIL            %s: ended early with status %s\n' "$1" "$2"
    elif [ "$engine_passed/$engine_failed" = "$3" ]; then
        engine_fail "$1: no test ran"
        printf '  FAIL            %s: no test ran\n' "$1"
    fi
}

# engine_start FUNCTION: in the background, its lines in a file of its own. Not in a pipe: a process
# that a test leaves behind would hold the pipe open, and its reader would wait for ever.
engine_start() {
    : >"$engine_logs/$1.out"
    ("$1") >"$engine_logs/$1.out" 2>&1 </dev/null &
    engine_jobs+=($!)
}

# engine_alone HEADING FUNCTION: with its results shown as they come.
engine_alone() {
    local before=$engine_passed/$engine_failed status=0
    engine_heading "$1"
    engine_start "$2"
    # Without our mark: it is no test that might be left behind, and ends with the check by itself.
    engine_count < <(env -u HOLDFAST_CHECK_RUN \
        tail -n +1 -s 0.1 -f --pid="${engine_jobs[0]}" "$engine_logs/$2.out")
    wait "${engine_jobs[0]}" 2>/dev/null || status=$?
    engine_jobs=()
    engine_judge "$1" "$status" "$before"
}

# engine_beside HEADING FUNCTION [HEADING FUNCTION]...: two at a time, for checks that leave a core
# idle. Each one's results are shown when it has ended. (wait -n would lose one that ends at once.)
engine_beside() {
    local pid status before headings=() functions=() running
    while [ $# -gt 0 ] || [ "${#engine_jobs[@]}" -gt 0 ]; do
        while [ $# -gt 0 ] && [ "${#engine_jobs[@]}" -lt 2 ]; do
            printf '\n[%s] started: %s\n' "$(engine_clock)" "$1"
            engine_start "$2"
            pid=${engine_jobs[-1]}
            headings[pid]=$1
            functions[pid]=$2
            shift 2
        done
        sleep 0.1
        running=()
        for pid in "${engine_jobs[@]}"; do
            if kill -0 "$pid" 2>/dev/null; then
                running+=("$pid")
                continue
            fi
            status=0
            wait "$pid" 2>/dev/null || status=$?
            before=$engine_passed/$engine_failed
            engine_heading "${headings[pid]}"
            engine_count <"$engine_logs/${functions[pid]}.out"
            engine_judge "${headings[pid]}" "$status" "$before"
        done
        engine_jobs=("${running[@]}")
    done
}

# engine_run MODE ROW...: the rows of that mode, in their order. Neighbours that may run beside each
# other are gathered and run so. A row: "modes | alone or beside | function | heading".
engine_run() {
    local mode=$1 row modes how function heading batch=()
    shift
    for row in "$@"; do
        IFS='|' read -r modes how function heading <<<"$row"
        case " $modes " in *" $mode "*) ;; *) continue ;; esac
        read -r how <<<"$how"
        read -r function <<<"$function"
        read -r heading <<<"$heading"
        if [ "$how" = beside ]; then
            batch+=("$heading" "$function")
            continue
        fi
        [ "${#batch[@]}" = 0 ] || engine_beside "${batch[@]}"
        batch=()
        engine_alone "$heading" "$function"
    done
    [ "${#batch[@]}" = 0 ] || engine_beside "${batch[@]}"
}

# The processes that carry our mark: those that a test started and nobody stopped.
engine_marked() {
    local file
    for file in /proc/[0-9]*/environ; do
        if grep -qsz "^HOLDFAST_CHECK_RUN=$HOLDFAST_CHECK_RUN\$" "$file"; then
            file=${file#/proc/}
            printf '%s\n' "${file%/environ}"
        fi
    done 2>/dev/null
}

# Marked processes that are still there a moment later, as "PID COMMAND LINE". The moment lets the
# children of a process that has just ended go.
engine_leftovers() {
    local pid tries
    for tries in 1 2 3 4 5; do
        [ -n "$(engine_marked)" ] || return 0
        [ "$tries" = 5 ] || sleep 0.4
    done
    for pid in $(engine_marked); do
        printf '%s %s\n' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)"
    done
}

# check_leftovers: the last row of every mode. What it finds it also stops.
check_leftovers() {
    local left pid
    left=$(engine_leftovers)
    if [ -z "$left" ]; then
        echo "ok 0.00 no process is left behind"
        return 0
    fi
    echo "not ok 0.00 no process is left behind"
    printf '%s\n' "$left" | sed 's/^/    still running: /'
    for pid in $(engine_marked); do
        kill -TERM "$pid" 2>/dev/null
    done
    return 1
}

# Ctrl-C: programs in the background do not get it from the terminal, so they are told here.
engine_interrupted() {
    trap - INT TERM
    printf '\nholdfast: the check was interrupted\n' >&2
    local pid
    for pid in "${engine_jobs[@]}" $(engine_marked); do
        kill -TERM "$pid" 2>/dev/null
    done
    exit 130
}

# engine_verdict: the last line, and the exit status.
engine_verdict() {
    local name
    printf '\n[%s] done' "$(engine_clock)"
    [ "$engine_skipped" = 0 ] || printf ', %d skipped' "$engine_skipped"
    printf '\n'
    for name in "${engine_failures[@]}"; do
        printf '  failed: %s\n' "$name"
    done
    printf '%d passed, %d failed\n' "$engine_passed" "$engine_failed"
    [ "$engine_failed" = 0 ] && [ "$engine_passed" -gt 0 ]
}
