#!/usr/bin/env bash
# In a fresh Debian with systemd as first process: the package's service is started, asked, reloaded, restarted, hung,
# upgraded, stopped and removed.
#
#   booted.sh OLD.deb NEW.deb
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/steps.sh"
old=$1 new=$2
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
# What the service said, when a step has failed.
tell() {
  [ "$1" -eq 0 ] || { journalctl --no-pager -u flowacl | tail -n 60; systemctl --no-pager status flowacl; } >&2
}
trap 'tell $?' EXIT

property() { systemctl show --property "$1" --value flowacl; }
in_kernel() { nft list table inet flowacl | grep -q 'destination 203.0.113.5/32; protocol =udp; destination-port =9'; }
in_journal() { journalctl --no-pager -u flowacl --grep "$1" >/dev/null; }
# Announces the rule, and holds the session until the end.
announce() {
  flowacl announce --to 127.0.0.1 --from 127.0.0.1 --local-as 65070 --remote-as 65140 --hold \
    'flow route { match { destination 203.0.113.5/32; protocol udp; destination-port =9; } then { discard; } }' >/dev/null 2>&1 &
  controller=$!
  eventually state installed
}
state() { flowacl show rules | grep -q "^$1 .*203.0.113.5/32"; }
# Sends packets that the rule drops to an address of lo until it is killed, every few milliseconds.
mkfifo /run/never && exec 8<>/run/never
flood() { while :; do echo >/dev/udp/203.0.113.5/9; read -rt 0.005 -u 8 || true; done 2>/dev/null; }
# UDP packets that came through, to a port where nobody listens.
passed() { awk '$1 == "Udp:" { passed = $3 } END { print passed }' /proc/net/snmp; }
counted() { flowacl show rules --json | grep -Eq '"packets": [1-9]'; }

step "the unit waits for a configuration"
dpkg -i "$old" >/dev/null
same "ActiveState" "$(property ActiveState)" inactive
same "ConditionResult" "$(property ConditionResult)" no

step "start"
ip address add 203.0.113.5/32 dev lo
ip link add mgmt type vrf table 100 && ip link set mgmt up
install -m 640 -g flowacl /dev/stdin /etc/flowacl/flowacl.toml <<'TEXT'
[bgp]
local_as = 65140
router_id = "192.0.2.2"
# The second is an address that comes later.
listen = ["0.0.0.0:179", "192.0.2.2:1179"]

[[neighbor]]
address = "127.0.0.1"
remote_as = 65070

[[neighbor]]
address = "198.51.100.1"
remote_as = 65070
interface = "mgmt"

[dataplane]
interfaces = ["*", "lo"]
on_stop = "keep"

[control]
read_group = "flowacl-read"
write_group = "flowacl-write"
TEXT
systemctl start flowacl
same "ActiveState" "$(property ActiveState)" active
same "Type" "$(property Type)" notify
in_journal 'listening place=.*mgmt' || fail "a VRF cannot be bound to"
in_journal 'no interface has this address yet' || fail "an address that is not there yet is no warning"
later() { : </dev/tcp/192.0.2.2/1179; }
refused later
ip address add 192.0.2.2/32 dev lo
later

step "what it may"
main=$(property MainPID)
same "user" "$(stat -c %U "/proc/$main")" flowacl
status() { awk -v key="$1:" '$1 == key { print $2 }' "/proc/$main/status"; }
same "CapEff" "$(status CapEff)" 0000000000001400
same "CapBnd" "$(status CapBnd)" 0000000000001400
same "NoNewPrivs" "$(status NoNewPrivs)" 1
same "Seccomp" "$(status Seccomp)" 2
same "oom_score_adj" "$(cat "/proc/$main/oom_score_adj")" -900
refused nsenter -t "$main" -m -- touch /etc/flowacl/x /usr/x
same "control socket" "$(stat -c '%a %U:%G' /run/flowacl/flowacl.sock)" "660 flowacl:flowacl-read"

step "who may ask"
useradd -G flowacl-read reader
useradd -G flowacl-read,flowacl-write writer
useradd stranger
as() { runuser -u "$1" -- "${@:2}"; }
flowacl show summary
as reader flowacl show summary >/dev/null
refused as stranger flowacl show summary
refused as reader flowacl panic
as writer flowacl panic --persist >/dev/null
as writer flowacl resume >/dev/null
same "state directory" "$(stat -c '%a %U' /var/lib/flowacl)" "700 flowacl"

step "a rule"
flood &
flood=$!
none=$(passed)
more() { [ "$(passed)" -gt "$none" ]; }
eventually more
announce
in_kernel || fail "$(nft list table inet flowacl)"
eventually counted

step "reload"
printf '\n[[neighbor]]\naddress = "192.0.2.9"\nremote_as = 65079\n' >>/etc/flowacl/flowacl.toml
systemctl reload flowacl
in_journal 'neighbor 192.0.2.9: new' || fail "no difference in the journal"
echo 'nonsense = 1' >>/etc/flowacl/flowacl.toml
refused systemctl reload flowacl
sed -i '$d' /etc/flowacl/flowacl.toml
same "ActiveState" "$(property ActiveState)" active
state installed || fail "the session did not survive"

step "nftables.service"
nft list ruleset >/dev/null
systemctl start nftables && systemctl reload nftables
eventually in_kernel
systemctl restart nftables
eventually in_kernel
eventually in_journal 'had changed our part of the packet filter'

step "restart without a gap"
eventually counted
before=$(passed)
systemctl restart flowacl
eventually state stale
wait "$controller" || true
announce
counted || fail "its counter began anew"
same "packets that came through" "$(($(passed) - before))" 0

step "watchdog"
mkdir /etc/systemd/system/flowacl.service.d
printf '[Service]\nWatchdogSec=8\n' >/etc/systemd/system/flowacl.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart flowacl
starts=$(property NRestarts)
kill -STOP "$(property MainPID)"
restarted() { [ "$(property NRestarts)" -gt "$starts" ] && [ "$(property ActiveState)" = active ]; }
eventually restarted
in_kernel || fail "the rule went with the daemon that hung"
in_journal 'Watchdog timeout' || fail "it was something else"
rm /etc/systemd/system/flowacl.service.d/watchdog.conf
systemctl daemon-reload

step "upgrade"
main=$(property MainPID)
dpkg -i "$new" >/dev/null
same "ActiveState" "$(property ActiveState)" active
[ "$(property MainPID)" != "$main" ] || fail "the old program goes on"
in_kernel || fail "the rule went with the old program"
same "packets that came through" "$(($(passed) - before))" 0
kill "$flood"

step "stop, with on_stop = keep"
refused flowacl clear
systemctl stop flowacl
same "ActiveState" "$(property ActiveState)" inactive
same "Result" "$(property Result)" success
in_kernel || fail "the rule went"
flowacl clear
refused nft list table inet flowacl

# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/switches.sh"

step "remove and purge"
systemctl start flowacl
nft list table inet flowacl >/dev/null
dpkg -r flowacl >/dev/null
refused nft list table inet flowacl
refused pidof flowacl
dpkg -P flowacl >/dev/null
refused stat /etc/flowacl
refused stat /var/lib/flowacl
rm -rf /etc/systemd/system/flowacl.service.d
systemctl daemon-reload
same "LoadState" "$(property LoadState)" not-found
same "what failed meanwhile" "$(systemctl --failed --no-legend | wc -l)" 0
echo "started, upgraded and removed"
