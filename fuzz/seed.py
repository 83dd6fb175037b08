"""Writes seed inputs for the fuzz targets out of the test vectors: seed.py CORPUS VECTORS."""

import json
import pathlib
import sys

corpus, vectors = map(pathlib.Path, sys.argv[1:])
families = ["ipv4-flow", "ipv6-flow", "ipv4-flow-vpn", "ipv6-flow-vpn"]


def write(target, name, octets):
    folder = corpus / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(octets)


for file in ("vectors.jsonl", "malformed.jsonl"):
    for line in (vectors / file).read_text().splitlines():
        vector = json.loads(line)
        octets, name = bytes.fromhex(vector["hex"]), vector["id"]
        if vector["kind"] == "nlri" and vector["family"] in families:
            write("nlri", name, bytes([families.index(vector["family"])]) + octets)
        elif vector["kind"] == "message":
            write("message_stream", name, b"\xff" + octets)
            if octets[18:19] == b"\x02":
                write("update", name, b"\x03" + octets[19:])

texts = [
    "flow route { match { destination 192.0.2.0/24; protocol [ =tcp =udp ]; port [ >=10&<=20 =80 ]; } then { discard; } }",
    "flow route x { rd 65535:1; match { source 2001:db8::/64/32; fragment [ is-fragment !last-fragment ]; } then { mark 46; } }",
    "flow route { match { tcp-flags [ syn&!ack =rst ]; packet-length !=0x0050; dscp true; } then { rate-limit 9600; action sample; } }",
    "udp 198.51.100.7:123 > 203.0.113.5:4444 len 468 frag first dscp 46",
    "tcp [2001:db8::1]:1 > [2001:db8::2]:80 len 60 flags syn,ack label 5",
]
for index, text in enumerate(texts):
    write("flow_text", f"text{index}", text.encode())
    write("packet", f"text{index}", text.encode())
write("packet", "udp4", bytes.fromhex("450000200001000040110000c6336407cb007105007b115c000c0000deadbeef"))
write("packet", "frag6", bytes.fromhex("6000000000102c40" + "20010db8" + "00" * 12 + "20010db8" + "00" * 12 + "1100000112345678" + "007b115c00080000"))
