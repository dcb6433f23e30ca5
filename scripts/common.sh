# What scripts/demo and scripts/test share; sourced from the root of the repository.

# Prints a Python that is new enough (3.11): python3 itself where it is. Otherwise says what to do.
find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "mirnet needs Python 3.11 or newer with its venv module, and found none; install one (on Debian: python3-venv)." >&2
    return 1
}

# make_venv FOLDER: an empty environment, unless there is one that works.
make_venv() {
    "$1/bin/python" -m pip --version >/dev/null 2>&1 && return
    local python
    python="$(find_python)"
    "$python" -m venv --clear "$1"
}

# install_once FOLDER WHAT...: pip install WHAT under our constraints, unless that very install was done before.
install_once() {
    local folder="$1" stamp
    shift
    stamp="$({ cat pyproject.toml constraints.txt; echo "$PWD" "$@"; } | sha256_of)"
    [ "$(cat "$folder/.installed" 2>/dev/null)" = "$stamp" ] && return
    echo "Installing into $folder (once) ..."
    rm -f "$folder/.installed"
    "$folder/bin/python" -m pip install -qq --disable-pip-version-check --constraint constraints.txt "$@"
    echo "$stamp" >"$folder/.installed"
}

# macOS has no sha256sum, and cksum is everywhere but short: Python's is good enough and already needed.
sha256_of() {
    "$(find_python)" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'
}
