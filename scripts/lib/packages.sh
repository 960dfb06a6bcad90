# System packages: installs what is missing where it may, otherwise names it. Sourced.

# Each line: a command (or a file) that has to be there, and the Debian package that brings it.
readonly COMMON_NEEDS="
ssh openssh-client
ip iproute2
/etc/ssl/certs/ca-certificates.crt ca-certificates
"
readonly ENGINE_NEEDS="
dockerd docker.io
containerd containerd
runc runc
iptables iptables
debootstrap debootstrap
mount mount
tar tar
"
readonly TEST_NEEDS="
chromium chromium
chromedriver chromium-driver
"

# Prints the packages of those needs that are not met.
missing_packages() {
    local need package
    while read -r need package; do
        [ -n "$need" ] || continue
        case "$need" in
        /*) [ -e "$need" ] || echo "$package" ;;
        *) PATH="$PATH:/usr/sbin:/sbin" command -v "$need" >/dev/null || echo "$package" ;;
        esac
    done <<<"$1" | sort -u
}

may_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null
}

# Installs packages, or ends naming them.
install_packages() {
    local wanted="$*" begun=$SECONDS
    [ -n "$wanted" ] || return 0
    if ! may_install; then
        fail "$HOST_UNFIT" "missing: $wanted. Install: sudo apt-get install $wanted"
    fi
    say "system packages: installing $wanted"
    # The package lists may be absent (a fresh machine) or too old to find a file.
    if ! _lists_present || ! _apt_install "$@"; then
        quietly apt-get -q update || { show_log; fail "$HOST_UNFIT" "apt-get update failed"; }
        _apt_install "$@" || { show_log; fail "$HOST_UNFIT" "cannot install: $wanted"; }
    fi
    say "system packages: installed ($((SECONDS - begun)) s)"
}

_lists_present() {
    compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null
}

# RUNLEVEL=1 keeps services from starting where no service manager would stop them again.
_apt_install() {
    local level=()
    [ -d /run/systemd/system ] || level=(RUNLEVEL=1)
    quietly env DEBIAN_FRONTEND=noninteractive "${level[@]}" apt-get -q -y \
        --no-install-recommends -o DPkg::Lock::Timeout=300 install "$@"
}

# Whether an engine is there already: the named one, or the system's.
engine_exists() {
    [ -z "${DOCKER_HOST:-}" ] || return 0
    "$1" - <<'PY'
import socket
import sys

with socket.socket(socket.AF_UNIX) as client:
    client.settimeout(2)
    try:
        client.connect("/var/run/docker.sock")
        client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        sys.exit(b" 200 " not in client.recv(64))
    except OSError:
        sys.exit(1)
PY
}
