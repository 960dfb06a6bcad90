#!/bin/sh
# PID 1 of a lease: waits for the lease's keys, then becomes the SSH server, which reaps orphans
# and ends at once when it is asked to.
#
# Reads, from /run/compute (folder 0755, owned by root, filled by the engine before or after the
# start; host_key is to be written last):
#   host_key         the lease's SSH host key (0600)
#   authorized_keys  who may log in, as root and as renter (0644); may be replaced at any time
#   password         optional: lines of user:crypted-hash; switches password logins on (0600)
# Exit status 64: no host key came in time.
set -eu

keys=/run/compute
session=/run/sshd/session.conf
wait_s=${COMPUTE_KEY_WAIT_S:-60}

trap 'exit 143' TERM INT

await_host_key() {
    left=$((wait_s * 50))
    until [ -s "$keys/host_key" ]; do
        left=$((left - 1))
        if [ "$left" -lt 0 ]; then
            echo "compute-entry: no host key within $wait_s s" >&2
            exit 64
        fi
        sleep 0.02
    done
}

# What the container was given as its environment is what a session gets: sshd hands on none of
# its own. A value of several lines is left out.
write_session() {
    env | sed -n '
        /^\(HOME\|HOSTNAME\|PWD\|OLDPWD\|SHLVL\|TERM\|_\|COMPUTE_[A-Z_]*\)=/d
        /^[A-Za-z_][A-Za-z0-9_]*=/ { s/[\\"]/\\&/g; s/.*/"&"/p; }
    ' | tr '\n' ' ' | sed 's/^./SetEnv &/'
    echo
    if [ -s "$keys/password" ]; then
        echo "PasswordAuthentication yes"
    fi
}

mkdir -p /run/sshd
chmod 0755 /run/sshd
await_host_key
write_session >"$session"
if [ -s "$keys/password" ]; then
    chpasswd -e <"$keys/password"
fi
exec /usr/sbin/sshd -D -e -f /etc/ssh/compute_sshd.conf
