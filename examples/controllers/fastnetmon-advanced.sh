#!/bin/sh
# FastNetMon Advanced as the controller 192.0.2.1 of examples/router.toml: it speaks BGP itself, and announces the flows
# that it finds in an attack.
#
# Its sessions go over any distance: leave ttl_security out on the other side, or set it to that many hops.
set -eu

fcli set bgp flowacl
fcli set bgp flowacl local_asn 65070
fcli set bgp flowacl local_address 192.0.2.1
fcli set bgp flowacl remote_asn 65140
fcli set bgp flowacl remote_address 192.0.2.2
fcli set bgp flowacl ipv4_flowspec enable
fcli set bgp flowacl multihop enable
fcli set bgp flowacl active enable

fcli set main gobgp enable
fcli set main gobgp_flow_spec_announces enable
fcli set main gobgp_flow_spec_default_action discard
fcli set main flow_spec_unban_enabled enable
fcli commit
