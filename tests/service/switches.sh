# shellcheck shell=bash
# A part of booted.sh: what programs of a switch may do under the drop-ins, in whose surroundings they run before the daemon.

drop_ins=/etc/systemd/system/flowacl.service.d
# Starts the service with a drop-in and a trial of Python before it.
try() {
  install -m 644 "/usr/share/flowacl/$1" "$drop_ins/switch.conf"
  install -m 755 /dev/stdin /usr/local/bin/trial
  printf '[Service]\nExecStartPre=/usr/local/bin/trial\n' >"$drop_ins/trial.conf"
  systemctl daemon-reload
  systemctl start flowacl
}
# Stops it and takes the drop-in away.
end() {
  systemctl stop flowacl
  flowacl clear
  rm "$drop_ins/switch.conf" "$drop_ins/trial.conf"
  systemctl daemon-reload
}

step "the drop-in of Cumulus: what cl-acltool does"
mkdir -p /etc/cumulus/acl/policy.d
touch /etc/cumulus/acl/policy.d/50_nvue.rules
chown reader /etc/cumulus/acl/policy.d/50_nvue.rules
# The switch has rules from the start; the service may not load modules.
modprobe -a iptable_mangle ip6table_mangle
try cumulus.conf <<'PYTHON'
#!/usr/bin/python3
import os, subprocess

assert os.geteuid() == 0
os.chdir("/etc/cumulus/acl/policy.d")
with open("40_flowspec.rules.new", "w") as policy:
    policy.write("[iptables]\n-t mangle -A PREROUTING -i swp+ -p udp -j DROP\n")
os.rename("40_flowspec.rules.new", "40_flowspec.rules")
open("50_nvue.rules", "a").close()
for place in "/run/acltool.lock", "/var/lib/acltool", "/var/log/acltool", "/tmp/acltool":
    open(place, "w").close()
for tool in "iptables", "ip6tables", "iptables-legacy", "ip6tables-legacy":
    subprocess.run([tool, "-t", "mangle", "-A", "PREROUTING", "-i", "swp+", "-p", "udp", "-j", "DROP"], check=True)
for place in "/etc/passwd", "/usr/bin/env":
    try:
        open(place, "a")
    except OSError:
        continue
    raise SystemExit(f"{place} can be written")
PYTHON
same "ActiveState" "$(property ActiveState)" active
same "user" "$(stat -c %U "/proc/$(property MainPID)")" root
same "policy" "$(stat -c '%a %U' /etc/cumulus/acl/policy.d/40_flowspec.rules)" "644 root"
iptables -t mangle -S PREROUTING | grep -q 'swp+ -p udp -j DROP' || fail "no rule of iptables"
flowacl show summary >/dev/null
end

step "the drop-in of SONiC: the socket of Redis"
groupadd redis
mkdir -p /run/redis
python3 -c '
import socket
server = socket.socket(socket.AF_UNIX)
server.bind("/run/redis/redis.sock")
server.listen()
while True: server.accept()' &
redis=$!
eventually test -S /run/redis/redis.sock
chgrp redis /run/redis/redis.sock
chmod 760 /run/redis/redis.sock
install -m 755 /dev/stdin /usr/local/bin/connect <<'PYTHON'
#!/usr/bin/python3
import socket
socket.socket(socket.AF_UNIX).connect("/var/run/redis/redis.sock")
PYTHON
eventually /usr/local/bin/connect
refused runuser -u flowacl -- /usr/local/bin/connect
try sonic.conf </usr/local/bin/connect
same "ActiveState" "$(property ActiveState)" active
same "user" "$(stat -c %U "/proc/$(property MainPID)")" flowacl
end
kill "$redis"
