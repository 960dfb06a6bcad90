# The virtual environment: made once, brought up to date when the pinned requirements change.
# Sourced.

readonly TORCH_CPU_INDEX="https://download.pytorch.org/whl/cpu"

# Sets `python` to a Python of 3.11 or newer, or ends.
find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11 python3.14; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            python="$candidate"
            return 0
        fi
    done
    fail "$HOST_UNFIT" "Python 3.11 or newer is needed, found: $(python3 -V 2>&1 || echo none)." \
        "Install one (python3.11 or newer, with its venv package)"
}

# The Debian package that gives this Python its venv module, if it lacks that.
venv_package() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        "$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
}

ensure_venv() {
    if [ -x "$venv/bin/python" ] && "$venv/bin/python" -c '' 2>/dev/null; then
        "$venv/bin/python" -c 'import pip' 2>/dev/null && return 0
        quietly "$venv/bin/python" -m ensurepip && return 0
    fi
    say "virtual environment: making it with $("$python" -V)"
    rm -rf "$venv"
    quietly "$python" -m venv "$venv" || { show_log; fail "$HOST_UNFIT" "cannot make $venv"; }
}

# ensure_part NAME KEY-COMMAND... : runs `install_NAME` unless the stamp says that it was done for
# the same files.
ensure_part() {
    local name="$1" stamp key begun=$SECONDS
    shift
    stamp="$venv/.installed-$name"
    key="$(cat "$@" <("$venv/bin/python" -V) <(has_gpu && echo gpu) | sha256sum | cut -d' ' -f1)"
    if [ "$(cat "$stamp" 2>/dev/null)" = "$key" ]; then
        reused="$reused $name"
        return 0
    fi
    say "python packages: installing $name"
    "install_$name" || { show_log; fail 1 "installing $name failed"; }
    printf '%s\n' "$key" >"$stamp"
    say "python packages: $name installed ($((SECONDS - begun)) s)"
}

# The command `compute`, and `import compute` in any folder, for whoever activates the environment.
# One that is borrowed by a link stays as it is.
ensure_command() {
    local packages
    [ ! -L "$venv" ] || return 0
    for packages in "$venv"/lib/python*/site-packages; do
        printf '%s\n' "$here" >"$packages/compute-checkout.pth"
    done
    printf '#!%s\nimport sys\n\nsys.path.insert(0, "%s")\nfrom compute.cli.main import main\n\nmain()\n' \
        "$venv/bin/python" "$here" >"$venv/bin/compute"
    chmod 755 "$venv/bin/compute"
}

install_requirements() {
    pip_install --require-hashes -r "$here/requirements.txt"
}

install_tests() {
    pip_install --require-hashes -r "$here/requirements-dev.txt"
}

# torch's build differs by machine. Its dependencies are pinned with everything else.
install_torch() {
    local wanted="$here/requirements-torch.txt"
    if has_gpu; then
        pip_install -r "$wanted" && imports_torch
        return
    fi
    if pip_install --no-index --no-deps -r "$wanted" && imports_torch; then
        return 0
    fi
    pip_install --no-deps --index-url "$TORCH_CPU_INDEX" --timeout 15 --retries 1 -r "$wanted" &&
        imports_torch && return 0
    say "python packages: no CPU build of torch at hand, taking the common one (large)"
    pip_install --force-reinstall --no-deps -r "$wanted" &&
        { imports_torch || pip_install -r "$wanted"; } && imports_torch
}

pip_install() {
    quietly "$venv/bin/python" -m pip install --quiet --no-input "$@"
}

imports_torch() {
    quietly "$venv/bin/python" -c 'import torch'
}

has_gpu() {
    [ -e /dev/nvidiactl ]
}
