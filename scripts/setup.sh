# What `demo` and `check` need on a fresh Debian machine. Sourced, not run.
# Every function looks first and installs only what is missing.

say() {
    printf '==> %s\n' "$*" >&2
}

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# apt_install PACKAGE...: installs by name, as root or through sudo.
apt_install() {
    command -v apt-get >/dev/null 2>&1 || fail "please install: $*"
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif command -v sudo >/dev/null 2>&1; then
        as_root=sudo
    else
        fail "please install as root: apt-get install $*"
    fi
    say "installing $* with apt-get"
    $as_root apt-get update -q >&2
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -q --no-install-recommends "$@" >&2
}

# zstd and the linker need a C compiler.
need_compiler() {
    command -v cc >/dev/null 2>&1 || apt_install gcc libc6-dev
}

need_rust() {
    if ! command -v cargo >/dev/null 2>&1 && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
        export PATH
    fi
    command -v cargo >/dev/null 2>&1 || fail "Rust is missing: install it from https://rustup.rs, then try again"
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(rustc --version | cut -d' ' -f2)
    oldest=$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)
    [ "$oldest" = "$wanted" ] || fail "Rust $wanted or newer is needed, this is $found: run 'rustup update'"
}

need_rust_tools() {
    cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt >&2
    cargo clippy --version >/dev/null 2>&1 || rustup component add clippy >&2
}

# The shells that complete: a test types into them.
need_shells() {
    missing=
    for shell in bash zsh fish; do
        command -v "$shell" >/dev/null 2>&1 || missing="$missing $shell"
    done
    [ -e /usr/share/bash-completion/bash_completion ] || missing="$missing bash-completion"
    # Names of packages, one a word.
    [ -z "$missing" ] || apt_install $missing
}

# Draws what `rheos explain --format dot` says.
need_graphviz() {
    command -v dot >/dev/null 2>&1 || apt_install graphviz
}

# Counts instructions.
need_valgrind() {
    command -v valgrind >/dev/null 2>&1 || apt_install valgrind libc6-dbg
}

# need_python PACKAGE...: a virtual environment in .venv with these packages; sets $python.
need_python() {
    command -v python3 >/dev/null 2>&1 || apt_install python3 python3-venv
    if [ ! -x .venv/bin/python ]; then
        rm -rf .venv
        python3 -m venv .venv >/dev/null 2>&1 || {
            rm -rf .venv
            apt_install python3-venv
            python3 -m venv .venv
        }
    fi
    python=.venv/bin/python
    "$python" -m pip install --quiet --disable-pip-version-check "$@" >&2
}

# Azure's storage protocol, for tests/s3. Where it cannot be had, the driver says what it skips.
want_azurite() {
    azurite=target/azurite/node_modules/.bin/azurite-blob
    [ -x "$azurite" ] && return 0
    if command -v npm >/dev/null 2>&1; then
        timeout 300 npm install --silent --no-audit --no-fund --prefix target/azurite azurite@3 >&2 || true
    fi
    [ -x "$azurite" ] || azurite=
}
