# shellcheck shell=bash
# What ./run and ./check share: say where we are, fail in one plain sentence, install what is
# missing, build. To be sourced by bash from the top of the tree; runs nothing by itself.
#
#     . tools/setup.sh
#     setup_need build run              # groups of tools/packages; quick when nothing is missing
#     setup_space 600 "$PWD" building   # MB that must be free before starting
#     build_optimised build/release     # meson and ninja, silent unless it fails
#
# Everything here may be called again and again. Nothing here asks a question, starts a service or
# touches a PostgreSQL cluster of the machine. HOLDFAST_SETUP=skip leaves packages to the caller
# (another distribution, an image that is complete): then only the programs themselves are used.

# Debian's own tools come first: meson and the Python modules that tools/packages names belong to
# /usr/bin/python3, which a pyenv or virtualenv in front of it would hide.
PATH=/usr/bin:/bin:/usr/sbin:/sbin:$PATH

setup_packages=tools/packages

# say TEXT...: one line of progress.
say() {
    printf '%s\n' "$*"
}

# die "what: why" "how to fix": the last two lines a person sees. The second one is optional.
die() {
    printf 'holdfast: %s\n' "$1" >&2
    [ -z "${2:-}" ] || printf '          %s\n' "$2" >&2
    exit 1
}

# setup_patiently "what" LOG COMMAND...: runs the command with its output in LOG and shows that time
# passes: in place on a terminal, a line every 20 s elsewhere. Returns the command's status. The
# command stays in the foreground, so that Ctrl-C reaches it; only the ticker is in the background,
# and it ends by itself if this shell is killed.
setup_patiently() {
    local what=$1 log=$2 status=0 start=$SECONDS ticker
    shift 2
    if [ -t 1 ]; then
        printf '  %s ...' "$what"
    else
        printf '  %s ...\n' "$what"
    fi
    (
        n=0
        while sleep 1 >/dev/null && kill -0 $$ 2>/dev/null; do
            n=$((n + 1))
            if [ -t 1 ]; then
                printf '\r  %s ... %d s ' "$what" "$n"
            elif [ $((n % 20)) = 0 ]; then
                printf '  %s ... %d s\n' "$what" "$n"
            fi
        done
    ) 2>/dev/null &
    ticker=$!
    "$@" >"$log" 2>&1 </dev/null || status=$?
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    if [ -t 1 ]; then
        printf '\r\033[K'
    fi
    if [ "$status" = 0 ]; then
        printf '  %s: done in %d s\n' "$what" $((SECONDS - start))
    else
        printf '  %s: failed after %d s\n' "$what" $((SECONDS - start))
    fi
    return "$status"
}

# setup_absent PACKAGE...: prints those that are not installed, one a line. One dpkg-query for all
# of them: a few milliseconds.
setup_absent() {
    local have package
    # shellcheck disable=SC2016 # the ${...} is dpkg-query's, not the shell's
    have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)
    for package in "$@"; do
        case $'\n'$have$'\n' in
        *$'\n'"installed $package"$'\n'*) ;;
        *) printf '%s\n' "$package" ;;
        esac
    done
}

# setup_missing GROUP...: prints the packages of these groups that the machine lacks, one a line.
setup_missing() {
    local group package file names=()
    while read -r group package file _; do
        case " $* " in *" $group "*) ;; *) continue ;; esac
        case $file in /*) [ ! -e "$file" ] || continue ;; esac
        names+=("$package")
    done < <(grep -v '^#' "$setup_packages")
    [ "${#names[@]}" = 0 ] || setup_absent "${names[@]}"
}

# setup_space MB DIR "doing what": dies when the file system of DIR has less than that free.
setup_space() {
    local free
    free=$(df -Pk "$2" 2>/dev/null | awk 'NR == 2 { print int($4 / 1024) }')
    if [ -n "$free" ] && [ "$free" -lt "$1" ]; then
        die "disk is too full: $3 needs $1 MB, $free MB are free under $2" \
            "Free some space there and run this again."
    fi
}

# setup_writable DIR: makes DIR, or dies when somebody else has made it: a run as root leaves files
# that a later run as a user could neither replace nor trust.
setup_writable() {
    local entry
    mkdir -p "$1" 2>/dev/null || true
    for entry in "$1" "$1"/*; do
        [ ! -e "$entry" ] || [ -w "$entry" ] ||
            die "cannot write to $entry: it belongs to $(stat -c %U "$entry")" \
                "Remove $1 as that user, or run this as that user."
    done
    [ -d "$1" ] || die "cannot make the folder $1" "Is ${PWD} yours to write to?"
}

# setup_explain LOG PACKAGE...: dies with the reason for apt's failure, in words.
setup_explain() {
    local log=$1
    shift
    if grep -qE 'No space left|enough free space' "$log"; then
        die "could not install packages: the disk is full" \
            "Free some space (df -h shows where) and run this again."
    fi
    if grep -qE 'Could not get lock|Unable to acquire|is held by process' "$log"; then
        die "could not install packages: another package manager is running" \
            "Wait until it has finished and run this again."
    fi
    if grep -qiE 'resolv|could not connect|unable to connect|network is unreach' "$log"; then
        die "could not install packages: the Debian mirror cannot be reached" \
            "Check the network (or set http_proxy) and run this again; needed: $*"
    fi
    if grep -q 'Unable to locate package\|has no installation candidate' "$log"; then
        die "could not install packages: the package sources of this system lack some of them" \
            "Holdfast is built on Debian 12; elsewhere set HOLDFAST_SETUP=skip and install: $*"
    fi
    tail -n 15 "$log" >&2
    die "could not install packages: apt-get failed, its last words are above" \
        "Repair that (often: apt-get -f install) and run this again; needed: $*"
}

# Debian's postgresql-15 makes a cluster "main" on port 5432 and starts it when it is installed.
# Nobody asked for that one: a drop-in, there only while apt runs, says no. A machine that has the
# package already is left alone.
setup_cluster_dropin=/etc/postgresql-common/createcluster.d/holdfast-setup.conf

setup_no_main_cluster() {
    "${setup_root[@]}" mkdir -p "${setup_cluster_dropin%/*}"
    printf '# while Holdfast installs its packages\ncreate_main_cluster = false\n' |
        "${setup_root[@]}" tee "$setup_cluster_dropin" >/dev/null
}

setup_cluster_as_before() {
    [ -e "$setup_cluster_dropin" ] || return 0
    "${setup_root[@]}" rm -f "$setup_cluster_dropin"
    "${setup_root[@]}" rmdir --ignore-fail-on-non-empty "${setup_cluster_dropin%/*}" 2>/dev/null ||
        true
}

# setup_become_root PACKAGE...: fills setup_root with what stands before a root command, or dies.
setup_root=()
setup_become_root() {
    setup_root=()
    [ "$(id -u)" != 0 ] || return 0
    if ! command -v sudo >/dev/null; then
        die "packages are missing and there is no sudo: $*" \
            "As root run: apt-get install --no-install-recommends $*"
    fi
    # With a terminal sudo may ask for the password once; without one it must not wait for it.
    if [ -t 0 ]; then
        say "  sudo is needed to install: $*"
        sudo true || die "packages are missing and sudo refused: $*" \
            "As root run: apt-get install --no-install-recommends $*"
    else
        sudo -n true 2>/dev/null || die "packages are missing and sudo wants a password: $*" \
            "As root run: apt-get install --no-install-recommends $*"
    fi
    setup_root=(sudo)
}

# setup_install PACKAGE...: installs them with apt-get, or dies. Called in a subshell, so that its
# trap does not replace the caller's.
setup_install() {
    setup_become_root "$@"
    # The groups build, run and check together unpack to 1300 MB; apt keeps 300 MB of archives.
    local space=$((60 + 100 * $#))
    setup_space "$((space > 1600 ? 1600 : space))" /usr "installing packages"
    say "Installing $# packages: $*"

    local log missing
    local apt=("${setup_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -q -y
        -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3)
    log=$(mktemp)
    # shellcheck disable=SC2064 # expanded now: the trap runs when the local variable is gone
    trap "rm -f '$log' '$log.install'; setup_cluster_as_before" EXIT
    # A failed update is no verdict: old lists will do, and a broken third source does not matter.
    setup_patiently "reading the package lists" "$log" "${apt[@]}" update || true
    case " $* " in *" postgresql-"*) setup_no_main_cluster ;; esac
    # Nor is a failed install: what counts is whether the packages are there afterwards.
    setup_patiently "installing" "$log.install" "${apt[@]}" \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
        install --no-install-recommends "$@" || true
    mapfile -t missing < <(setup_absent "$@")
    if [ "${#missing[@]}" -gt 0 ]; then
        cat "$log.install" >>"$log"
        setup_explain "$log" "${missing[@]}"
    fi
}

# setup_need GROUP...: after it, every package of these groups is installed.
setup_need() {
    [ "${HOLDFAST_SETUP:-}" != skip ] || return 0
    local missing
    mapfile -t missing < <(setup_missing "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        die "this is not a Debian system: apt-get was not found" \
            "Install the like of these and set HOLDFAST_SETUP=skip: ${missing[*]}"
    fi
    (setup_install "${missing[@]}") || exit 1
}

# build_configured DIR [MESON OPTION...]: makes the build directory unless it is there. One whose
# making was interrupted, or that was made with another compiler or other options, is made anew.
build_configured() {
    local dir=$1 made="${CC:-cc} ${*:2}"
    shift
    if [ -e "$dir/build.ninja" ] && [ "$(cat "$dir/made-with" 2>/dev/null)" = "$made" ]; then
        return 0
    fi
    rm -rf "$dir"
    mkdir -p "${dir%/*}"
    meson setup "$dir" "$@" >"$dir.log" 2>&1 || return 1
    printf '%s\n' "$made" >"$dir/made-with"
}

# build_optimised DIR [TARGET...]: the product as it is shipped, built with gcc into DIR. Prints one
# line, and the compiler's words only if it fails.
build_optimised() {
    local dir=$1
    shift
    setup_space 300 . "building"
    # Many small functions of many files make the path of a query: compiled as one, they are a
    # quarter fewer instructions.
    CC=${CC:-gcc} build_configured "$dir" --buildtype=release -Db_lto=true || {
        tail -n 20 "$dir.log" >&2
        die "could not prepare the build in $dir" "The lines above say what is missing."
    }
    setup_patiently "building Holdfast" "$dir.log" ninja -C "$dir" "$@" || {
        grep -vE '^\[[0-9]+/[0-9]+\] (Compiling|Linking|Generating)' "$dir.log" | tail -n 40 >&2
        die "could not build Holdfast: the compiler's words are above" \
            "If the tree is unchanged, please report them."
    }
}
