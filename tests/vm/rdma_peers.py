# SPDX-License-Identifier: Apache-2.0
"""Peers on raw verbs that do what no good one would, and what comes of it: part of test_rdma.py.

The controllers are in rdma_controller.c, with our initiator; the host that watches its memory is in
rdma_early.c, with our target. Each case is a process and says in one line what has become of it.
"""
import re

PORT = 4430
ALL_CASES = 400  # s; the guest is emulated, and a machine with other work emulates slowly

PROTOCOL = "EPROTO, protocol error of the controller: "
NO_COMMAND = PROTOCOL + "response to no command"
HUNG_UP = "ECONNRESET, closed by the peer"
THREE_LOST = "; commands: ECONNRESET ECONNRESET ECONNRESET"
THREE_WRONG = "; commands: EPROTO EPROTO EPROTO"
# Of soft-RoCE; the device found it out before we did.
NO_KEY = "ECONNRESET, remote invalid request error"
DENIED = "remote access error"

# How connecting may end
CONNECTING = {
    "reject": "not connected: ECONNREFUSED, rejected: no reason given",
    "reject-length": "not connected: ECONNREFUSED, rejected: invalid length of the private data",
    "reject-recfmt": "not connected: ECONNREFUSED, rejected: invalid format of the private data",
    "reject-qid": "not connected: ECONNREFUSED, rejected: invalid queue ID",
    "reject-hsqsize":
        "not connected: ECONNREFUSED, rejected: invalid send queue size of the host",
    "reject-hrqsize":
        "not connected: ECONNREFUSED, rejected: invalid receive queue size of the host",
    "reject-resources": "not connected: ECONNREFUSED, rejected: out of resources",
    "reject-ird": "not connected: ECONNREFUSED, rejected: invalid inbound read depth",
    "reject-ord": "not connected: ECONNREFUSED, rejected: invalid outbound read depth",
    "reject-cntlid": "not connected: ECONNREFUSED, rejected: invalid controller ID",
    "reject-unknown": "not connected: ECONNREFUSED, rejected: unknown reason",
    "reject-nothing": "not connected: ECONNREFUSED, rejected: no reason given",
    "nobody": "not connected: ECONNREFUSED, rejected: nobody listens there",
    "never-accept": "not connected: ETIMEDOUT, no answer within connect_timeout",
    "accept-format":
        "not connected: EPROTO, the controller's private data is of no form we know",
    "accept-empty": "live",
    "connect-silent": "not connected: ETIMEDOUT, no answer within connect_timeout",
}

# What is the same with register_always and without
EITHER_WAY = {
    "connect-status": "not connected: ECONNREFUSED, Connect refused, status 0x184",
    "connect-cid": "not connected: " + NO_COMMAND,
    "connect-short": f"not connected: {PROTOCOL}response of 15 bytes",
    "connect-closed": "not connected: " + HUNG_UP,
    "connect-repeated": "lost: " + NO_COMMAND,
    "read": "live; commands: done",
    "write": "live; commands: done",
    "mixed": "live; commands:" + 28 * " done",
    "scattered-read": "live; commands: done done done",
    "scattered-write": "live; commands: done done done",
    "our-close-read": "closed; commands: ECANCELED ECANCELED",
    "our-close-write": "closed; commands: ECANCELED ECANCELED",
    "answer-0": f"lost: {PROTOCOL}response of 0 bytes" + THREE_WRONG,
    "answer-15": f"lost: {PROTOCOL}response of 15 bytes" + THREE_WRONG,
    "answer-17": "lost: ECONNRESET, local QP operation error" + THREE_LOST,
    "answer-no-slot": f"lost: {NO_COMMAND}" + THREE_WRONG,
    "answer-no-command": f"lost: {NO_COMMAND}" + THREE_WRONG,
    "answer-ffff": f"lost: {NO_COMMAND}" + THREE_WRONG,
    "answer-stale": f"lost: {NO_COMMAND}; commands: done EPROTO EPROTO EPROTO",
    "answer-repeated": f"lost: {NO_COMMAND}; commands: done EPROTO EPROTO",
    "inv-unknown": f"lost: {NO_KEY}" + THREE_LOST,
    "closed": f"lost: {HUNG_UP}" + THREE_LOST,
}

PLAIN = {
    "answer-twice": f"lost: {NO_COMMAND}; commands: done EPROTO EPROTO",
    "inv-own": f"lost: {NO_KEY}" + THREE_LOST,
}

# A key is open for its command, its direction and its queue. Without invalidation by the response
# we invalidate; "-inv": the controller does. None does it twice, for that takes Linux 6.1 down.
WINDOWS = {
    "connect-status-inv": "not connected: ECONNREFUSED, Connect refused, status 0x184",
    "connect-key": f"old key: {DENIED}; lost: {HUNG_UP}; commands: done",
    "connect-key-inv": f"old key: {DENIED}; lost: {HUNG_UP}; commands: done",
    "old-key-read": f"old key: {DENIED}; lost: {HUNG_UP}; commands: done",
    "old-key-read-inv": f"old key: {DENIED}; lost: {HUNG_UP}; commands: done",
    "old-key-write": f"old key: {DENIED}; lost: {HUNG_UP}; commands: done",
    "old-key-write-inv": f"old key: {DENIED}; lost: {HUNG_UP}; commands: done",
    "old-key-failed": f"old key: {DENIED}; lost: {HUNG_UP}; commands: 0x281",
    "old-key-later":
        f"old key: {DENIED}; lost: {HUNG_UP}; commands: done ECONNRESET",
    "old-key-later-inv":
        f"old key: {DENIED}; lost: {HUNG_UP}; commands: done ECONNRESET",
    "old-key-scattered": f"old key: {DENIED}; lost: {HUNG_UP}; commands: done ECONNRESET",
    "old-key-scattered-inv": f"old key: {DENIED}; lost: {HUNG_UP}; commands: done ECONNRESET",
    "mixed-inv": "live; commands:" + 28 * " done",
    "scattered-read-inv": "live; commands: done done done",
    "wrong-way-read": f"the other way: {DENIED}; lost: {HUNG_UP}; commands: ECONNRESET",
    "wrong-way-write": f"the other way: {DENIED}; lost: {HUNG_UP}; commands: ECONNRESET",
    "other-queue-read": f"on another queue: {DENIED}; live; commands: done",
    "other-queue-write": f"on another queue: {DENIED}; live; commands: done",
    "answer-twice": f"lost: {NO_COMMAND}" + THREE_WRONG,
    "inv-other": f"lost: {PROTOCOL}a key invalidated that is not the command's" + THREE_WRONG,
    "inv-no-data": f"lost: {PROTOCOL}a key invalidated that is not the command's" + THREE_WRONG,
    "inv-previous": f"lost: {NO_KEY}" + THREE_LOST,
}

CONTROLLERS = {f"{mode} {case}": expected
               for mode, cases in (("plain", CONNECTING | EITHER_WAY | PLAIN),
                                   ("windows", EITHER_WAY | WINDOWS))
               for case, expected in cases.items()}

# How much of a read of 512 KiB the host has when the gateway has so much of it
EARLY = {
    "early": "65536 of 102400, 131072 of 131072, status 0x0, 524288 in all",
    "bit-by-bit": "0 of 1, 0 of 16384, 0 of 65535, 65536 of 65536, 65536 of 65537, "
                  "65536 of 131071, 327680 of 344064, 458752 of 524287, status 0x0, 524288 in all",
    "restarted": "196608 of 204800, 65536 of 102400, status 0x0, 524288 in all",
    "restarted-at-once": "458752 of 458752, status 0x0, 524288 in all",
    "restarted-in-one-turn": "status 0x0, 524288 in all",
    "failed": "196608 of 204800, status 0x281, 196608 in all",
    "gone": "196608 of 204800, closed",
}


class Peers:
    """A mixin for RdmaTest."""

    def check_cases(self, program, expected):
        out = self.vm.run(
            "while read -r case; do\n"
            f"said=$({program} {self.PEERS_ADDRESS} {PORT} $case 2>/run/peer.log) ||\n"
            "    cat /run/peer.log\n"
            'echo "$case: $said"\n'
            "done <<END\n" + "\n".join(expected) + "\nEND", ALL_CASES)
        for case, line in expected.items():
            with self.subTest(case):
                found = re.findall(rf"^{case}: (.*)$", out, re.M)
                # Which CID it was is of no interest.
                self.assertEqual([re.sub(r" \(CID \d+\)", "", f) for f in found], [line], out)
        self.check_dmesg(self.vm)

    def test_odd_controllers(self):
        """Each costs its own connection at most, and no key opens what it should not."""
        self.check_cases("rdma_controller", CONTROLLERS)

    def test_read_data_leaves_early(self):
        """What the upstream has brought is with the host before the rest, and nothing else is."""
        self.check_cases("rdma_early", EARLY)
