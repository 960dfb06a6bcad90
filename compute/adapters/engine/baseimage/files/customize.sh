#!/bin/sh
# Turns a Debian or Ubuntu root file system with the recipe's packages into the base image.
# Runs inside it, as root, with this file's neighbours beside it.
set -eu
here=$(dirname "$0")

install -D -m 0755 "$here/entry.sh" /usr/local/sbin/compute-entry
install -D -m 0644 "$here/sshd.conf" /etc/ssh/compute_sshd.conf
rm -f /etc/ssh/ssh_host_*

# Newer servers shut out whole addresses after failed logins; behind a published port every
# client may come from one address, so a stranger could shut out the renter.
if ! /usr/sbin/sshd -t -f /dev/null -o PerSourcePenalties=no 2>&1 | grep -qi 'option'; then
    echo 'PerSourcePenalties no' >>/etc/ssh/compute_sshd.conf
fi

# The login user is 1000, whoever had that number in the base.
before=$(getent passwd 1000 | cut -d: -f1)
if [ -n "$before" ] && [ "$before" != renter ]; then
    userdel -r "$before" 2>/dev/null || userdel "$before"
fi
id renter >/dev/null 2>&1 || useradd --create-home --uid 1000 --shell /bin/bash renter
# '*' is no password at all, yet not a locked account: keys work.
usermod -p '*' root
usermod -p '*' renter
chmod 0700 /root /home/renter

# A login shell resets PATH; give it the image's own.
mkdir -p /etc/profile.d
printf "PATH='%s'\nexport PATH\n" "$PATH" >/etc/profile.d/compute.sh
command -v python >/dev/null || ln -s "$(command -v python3)" /usr/local/bin/python
# The container is the renter's own: pip may install into it.
rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
python3 -c 'import numpy'
python3 -m pip --version >/dev/null

find /usr/share/doc -type f ! -name copyright -delete
find /usr/share/locale -mindepth 1 -maxdepth 1 -type d -exec rm -rf {} +
rm -rf /usr/share/man/* /usr/share/info/* /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/*.log /var/log/apt
: >/etc/machine-id
