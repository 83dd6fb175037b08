#!/usr/bin/env bash
# In a fresh Debian without systemd running: the package is installed, configured, upgraded, removed and purged.
#
#   installed.sh OLD.deb NEW.deb CONFIGURATION
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/steps.sh"
old=$1 new=$2 configuration=$3
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C

# All files that are not dpkg's own notes, a cache or the list of users.
files() {
  find / -xdev \( -path /proc -o -path /var/lib/dpkg -o -path /var/log -o -path /var/cache -o -path "$PWD" \) -prune \
    -o -not -path '/etc/*-' -not -path '/etc/.pwd.lock' -not -path '/usr/share/doc' -print | sort
}

step "install"
files >before
told=$(dpkg -i "$old" 2>&1)
grep -q 'flowacl starts once there is /etc/flowacl/flowacl.toml' <<<"$told" || fail "no hint: $told"
same "state" "$(dpkg-query -W -f '${Status} ${Version}' flowacl)" "install ok installed 0.1.0-1"
dpkg -V flowacl
flowacl --version

step "user, groups and places"
same "groups" "$(id -Gn flowacl | tr ' ' '\n' | sort | xargs)" "flowacl flowacl-read flowacl-write"
same "shell" "$(getent passwd flowacl | cut -d: -f7)" /usr/sbin/nologin
same "/etc/flowacl" "$(stat -c '%a %U:%G' /etc/flowacl)" "2750 root:flowacl"
same "enabled" "$(systemctl is-enabled flowacl)" enabled

step "configure"
(umask 027 && cp "$configuration" /etc/flowacl/flowacl.toml && echo secret >/etc/flowacl/scrubber-1.password)
sed -i 's/^# md5_password_file/md5_password_file/' /etc/flowacl/flowacl.toml
grep -q '^md5_password_file' /etc/flowacl/flowacl.toml || fail "the example has no password"
runuser -u flowacl -- flowacl check
refused runuser -u nobody -- cat /etc/flowacl/flowacl.toml
echo 'FLOWACL_LOG=debug' >>/etc/default/flowacl
systemctl disable flowacl 2>/dev/null

step "upgrade"
dpkg -i "$new" >/dev/null
same "version" "$(dpkg-query -W -f '${Version}' flowacl)" "0.1.0-2"
grep -q '^FLOWACL_LOG=debug' /etc/default/flowacl || fail "the changed conffile was replaced"
cmp -s <(sed 's/^# md5_password_file/md5_password_file/' "$configuration") /etc/flowacl/flowacl.toml || fail "the configuration changed"
same "enabled" "$(systemctl is-enabled flowacl || true)" disabled

step "remove"
dpkg -r flowacl >/dev/null
refused stat /usr/sbin/flowacl
[ -e /etc/flowacl/flowacl.toml ] || fail "the configuration went before the purge"
[ -e /etc/default/flowacl ] || fail "the conffile went before the purge"

step "purge"
dpkg -P flowacl >/dev/null
files >after
diff before after >&2 || fail "files are left, or missing"
echo "installed and purged"
