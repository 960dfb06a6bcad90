# What the scripts share: where things are, one line of progress at a time, a log for the rest.
# Sourced, never run.

here="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
state="${COMPUTE_STATE:-$here/.state}"
venv="$here/.venv"
log="$state/bootstrap.log"
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
export PIP_DISABLE_PIP_VERSION_CHECK=1

# Exit statuses of the error catalogue (compute/errors.py).
readonly HOST_UNFIT=45
readonly INTERRUPTED=130

say() {
    printf '%s\n' "$*" >&2
}

# Ends with one clear line: what is wrong, and what to do.
fail() {
    local status="$1"
    shift
    say "error: $*"
    exit "$status"
}

_child=""

_stop_child() {
    trap - INT TERM
    [ -z "$_child" ] || kill -TERM "$_child" 2>/dev/null || true
    [ -z "$_child" ] || wait "$_child" 2>/dev/null || true
    exit "$INTERRUPTED"
}

# Runs a command with its output in the log; a signal to the script ends the command too.
quietly() {
    local status=0
    mkdir -p "$state"
    printf '\n$ %s\n' "$*" >>"$log"
    trap _stop_child INT TERM
    "$@" >>"$log" 2>&1 </dev/null &
    _child=$!
    wait "$_child" || status=$?
    _child=""
    trap - INT TERM
    return "$status"
}

# The last lines of the log, for a person who has to find out why.
show_log() {
    say "--- the end of $log:"
    tail -n 15 "$log" >&2
    say "---"
}

# Prints the comment at the top of a script and ends.
show_usage() {
    sed -n '2,/^[^#]/ s/^# \{0,1\}//p' "$1"
    exit 0
}
