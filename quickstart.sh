#!/usr/bin/env bash
# Sets MedSAGE up and starts it, on a machine with nothing but Python 3.11 or later.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
venv=$root/.venv
port=5000

usage() {
    cat <<'END'
usage: ./quickstart.sh [COMMAND] [OPTIONS]

  (nothing)         setup, then start
  setup [EXTRAS]    make .venv and install what the lock file names (EXTRAS: dev, train, mongodb, …)
  start [OPTIONS]   run everything in one process; OPTIONS go to `medsage serve`
  test [OPTIONS]    the checks and the whole test suite; OPTIONS go to pytest
  demo [OPTIONS]    smear image in, report out, from the terminal; OPTIONS go to `medsage demo`

The server listens on port 5000 and keeps its data in data/; .env.example lists the settings.
END
}

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "quickstart: $*"
    exit 1
}

# The lock file is tried on 3.11 to 3.13, so those are taken before a later one.
find_python() {
    local limit candidate
    for limit in '(3, 14)' '(4, 0)'; do
        for candidate in python3 python3.13 python3.12 python3.11 python3.14 python; do
            if "$candidate" -c "import sys; sys.exit(not (3, 11) <= sys.version_info < $limit)" \
                2>/dev/null; then
                printf '%s\n' "$candidate"
                return
            fi
        done
    done
    fail "Python 3.11 or later is needed, and none of python3, python3.13, python3.12, \
python3.11 on the PATH is one. Install it (Debian, Ubuntu: apt-get install python3 python3-venv)."
}

make_venv() {
    local python
    if "$venv/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        return
    fi
    python=$(find_python)
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "$python lacks the module venv (Debian, Ubuntu: apt-get install python3-venv)."
    say "Making .venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
}

# pip's own bar shows one download at a time; this shows how far the whole has come.
show_progress() {
    local line count=0
    while IFS= read -r line; do
        case $line in
        Collecting*)
            count=$((count + 1))
            if [ -t 2 ]; then
                line=${line#Collecting }
                printf '\r\033[K  %d packages: %s' "$count" "${line%%[ =<>~;]*}" >&2
            fi
            ;;
        Installing\ collected*)
            if [ -t 2 ]; then printf '\r\033[K' >&2; fi
            say "  writing $count packages to .venv"
            ;;
        esac
    done
}

# .venv/medsage-installed says which extras were installed, and from which version of both files.
setup() {
    local extras=vision,${1-} stamp=$venv/medsage-installed log=$venv/install.log
    local versions installed='' each missing=
    make_venv
    versions=$(cat "$root/pyproject.toml" "$root/requirements.lock" | cksum | tr -d ' ')
    if [ -x "$venv/bin/medsage" ] && [ -f "$stamp" ]; then
        installed=$(sed -n "s/^$versions //p" "$stamp")
    fi
    for each in ${extras//,/ }; do
        case ,$installed, in
        *,"$each",*) ;;
        *) missing=$missing,$each ;;
        esac
    done
    if [ -z "$missing" ]; then return; fi
    missing=${missing#,}
    say "Installing medsage[$missing]; the first time this takes a minute or two"
    if ! "$venv/bin/python" -m pip install --disable-pip-version-check --no-input \
        --report "$venv/install.json" -c "$root/requirements.lock" -e "$root[$missing]" 2>&1 | tee "$log" | show_progress; then
        tail -n 20 "$log" >&2
        fail "pip could not install the packages; the whole log is $log"
    fi
    if ! (cd "$root" && "$venv/bin/python" -m deploy.dependencies "$venv/install.json"); then
        fail "these are not the packages that deploy/requirements.hashes names"
    fi
    printf '%s %s\n' "$versions" "$missing${installed:+,$installed}" >"$stamp"
}

start() {
    cd "$root"
    exec "$venv/bin/medsage" serve --port "$port" "$@"
}

check() {
    local name=$1
    shift
    say "== $name"
    "$@" || failed+=("$name")
}

# Everything runs, so that one round shows all there is to mend; one failure fails the whole.
run_tests() {
    failed=()
    cd "$root"
    check 'ruff check' .venv/bin/ruff check .
    check 'ruff format' .venv/bin/ruff format --check --quiet .
    check 'mypy' .venv/bin/mypy
    # One more than there are processors: some tests wait for the disk.
    local workers=$(($(getconf _NPROCESSORS_ONLN) + 1))
    check 'pytest' .venv/bin/python -m pytest --numprocesses="$workers" --dist=loadfile --no-loadscope-reorder "$@"
    if [ ${#failed[@]} -gt 0 ]; then
        fail "failed: $(printf '%s, ' "${failed[@]}" | sed 's/, $//')"
    fi
}

command=${1-}
if [ $# -gt 0 ]; then shift; fi
case $command in
'')
    setup
    start
    ;;
setup)
    setup "$@"
    say "Ready: .venv/bin/medsage"
    ;;
start)
    setup
    start "$@"
    ;;
test)
    setup "dev${CI:+,train}"
    run_tests "$@"
    ;;
demo)
    setup
    exec "$venv/bin/medsage" demo "$@"
    ;;
-h | --help | help) usage ;;
*)
    usage >&2
    fail "unknown command: $command"
    ;;
esac
