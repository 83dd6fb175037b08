"""Writes seed inputs for the fuzz targets out of the test vectors: seed.py CORPUS VECTORS."""

import json
import pathlib
import sys

corpus, vectors = map(pathlib.Path, sys.argv[1:])
families = {"ipv4-flow": "0001 85", "ipv6-flow": "0002 85", "ipv4-flow-vpn": "0001 86", "ipv6-flow-vpn": "0002 86"}
mandatory = bytes.fromhex("400101 00 400200 400504 00000064 c01008 8006000046160000")
packets = [
    bytes.fromhex(octets)
    for octets in (
        # UDP, an ICMP error, a later fragment of TCP.
        "450000200001000040110000c6336407cb007105007b115c000c0000deadbeef",
        "4500001c0001000040010000c6336407cb0071050301000000000000",
        "4500001c000100b940060000c6336407cb007105deadbeefdeadbeef",
        # TCP with SYN and ACK, DSCP 46, Don't Fragment.
        "45b8002800014000400600 00c0000201c00002070050c0000000000100000002501200000000 0000",
        # IPv6: UDP in a first fragment, TCP, ICMPv6.
        "6000000000102c40" + "20010db8" + "00" * 12 + "20010db8" + "00" * 12 + "1100000112345678" + "007b115c00080000",
        "6b80000700140640" + "20010db8" + "00" * 12 + "20010db8" + "00" * 11 + "01" + "0050c000" + "00" * 8 + "5002000000000000",
        "6000000000083a40" + "fe80" + "00" * 14 + "ff02" + "00" * 13 + "01" + "8700000000000000",
    )
]
flows = [
    "flow route { match { destination 192.0.2.0/24; protocol [ =tcp =udp ]; port [ >=10&<=20 =80 ]; } then { discard; } }",
    "flow route x { rd 65535:1; match { source 2001:db8::/64/32; fragment [ is-fragment !last-fragment ]; } then { mark 46; } }",
    "flow route { match { tcp-flags [ syn&!ack =rst ]; packet-length !=0x0050; dscp true; } then { rate-limit 9600; action sample; } }",
    "flow route { match { icmp-type 8; icmp-code <3; } then { redirect 65000:1; community [ 1:2 ]; rate-limit 50 packets; } }",
    "flow route { match { flow-label 7; } scope { interface-set transitive:input:65000:1; } then { accept; } }",
]
packet_texts = [
    "udp 198.51.100.7:123 > 203.0.113.5:4444 len 468 frag first dscp 46",
    "tcp [2001:db8::1]:1 > [2001:db8::2]:80 len 60 flags syn,ack label 5",
    "icmp 192.0.2.1 > 203.0.113.5 type 8 code 0",
    "proto 47 192.0.2.1 > 203.0.113.5 frag last",
]
# Accepted, OPEN, KEEPALIVE; then an UPDATE, or time, or an end; dialed beside accepted.
sessions = ["00 07 08", "00 07 08 09 04 00000000", "00 07 03 ff", "01 07 00 07 08 04", "00 07 08 05 02 06", "02 03 1e 01 0a 02 ffff"]


def write(target, name, octets):
    folder = corpus / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(octets)


def write_nlri(name, family, octets):
    choice = list(families).index(family)
    write("nlri", name, bytes([choice]) + octets)
    value = bytes.fromhex(families[family] + "00 00") + octets
    attributes = bytes([0x90, 14]) + len(value).to_bytes(2, "big") + value + mandatory
    body = b"\x00\x00" + len(attributes).to_bytes(2, "big") + attributes
    write("update", name, b"\x03" + body)
    write("memo", name, bytes.fromhex("01 02 c0000201 c0000201") + body)
    for index, packet in enumerate(packets):
        if (packet[0] >> 4 == 6) == family.startswith("ipv6"):
            write("lower", f"{name}-{index}", bytes([0x80 | choice]) + octets + packet)


def write_message(name, octets):
    write("message_stream", name, b"\xff" + octets)
    body = octets[19:]
    if octets[18:19] == b"\x01":
        write("open", name, body)
    if octets[18:19] == b"\x02":
        write("update", name, b"\x03" + body)
        if len(body) < 256:
            write("session", name, bytes.fromhex("00 07 08 09") + bytes([len(body)]) + body)


for file in ("vectors.jsonl", "malformed.jsonl"):
    for line in (vectors / file).read_text().splitlines():
        vector = json.loads(line)
        octets, name, kind = bytes.fromhex(vector["hex"]), vector["id"], vector["kind"]
        if kind == "nlri":
            write_nlri(name, vector["family"], octets)
        elif kind == "message":
            write_message(name, octets)
        elif kind == "update":
            write("update", name, b"\x03" + octets)
        elif kind == "attributes":
            write("update", name, b"\x03\x00\x00" + len(octets).to_bytes(2, "big") + octets)
        elif kind == "capability":
            length = len(octets)
            write("open", name, bytes.fromhex("04 fde9 005a c0000201") + bytes([length + 2, 2, length]) + octets)

for index, packet in enumerate(packets):
    write("packet", f"octets{index}", packet)
for index, text in enumerate(packet_texts):
    write("packet", f"text{index}", text.encode())
for index, text in enumerate(flows):
    write("flow_text", f"text{index}", text.encode())
for index, script in enumerate(sessions):
    write("session", f"script{index}", bytes.fromhex(script))
