"""The cases of the Autobahn test suite against an echo that is made of the hub's own WebSocket code.

The suite is published for Python 2 and an old Twisted. Its cases are small and ask little of what runs them, so they run here as
they were published, on Python 3: their source is adapted word by word (print, xrange, texts as bytes), and `Fuzzer` below is what
they talk to. All cases without compression are run: 301.

Usage: autobahn.py FOLDER-OF-THE-UNPACKED-SUITE HOST:PORT [CASE...]
"""

import base64
import concurrent.futures
import heapq
import importlib
import os
import pathlib
import re
import select
import socket
import sys
import tempfile
import time
import types

EXPECTED_CASES = 301
# Where everything went well, and where a standard leaves room.
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
GOOD_CLOSE = {"OK", "INFORMATIONAL"}
READ_BYTES = 1 << 20
# No case needs longer once its own timers have fired.
CASE_TIMEOUT_S = 240
# After the closing handshake the server ends the connection; a client waits for that.
SERVER_DROP_S = 5


class Text(str):
    """A Python 2 text: bytes, here as the code points 0 to 255."""


def install_what_the_cases_import():
    class WebSocketProtocol:
        STATE_CLOSED, STATE_CONNECTING, STATE_CLOSING, STATE_OPEN = range(4)

    class Utf8Validator:
        def reset(self):
            pass

        def validate(self, text):
            try:
                text.encode("latin-1").decode("utf-8")
                return (True, True)
            except UnicodeDecodeError:
                return (False, False)

    binascii = types.ModuleType("binascii_of_texts")
    binascii.b2a_hex = lambda text: text.encode("latin-1").hex()
    binascii.a2b_hex = lambda text: bytes.fromhex(text).decode("latin-1")
    names = ["autobahn", "autobahn.websocket", "autobahn.websocket.protocol", "autobahn.websocket.utf8validator"]
    modules = {name: types.ModuleType(name) for name in names}
    modules["autobahn.websocket.protocol"].WebSocketProtocol = WebSocketProtocol
    modules["autobahn.websocket.utf8validator"].Utf8Validator = Utf8Validator
    sys.modules.update(modules)
    sys.modules["binascii_of_texts"] = binascii
    return WebSocketProtocol


PROTOCOL = install_what_the_cases_import()


def adapted(source):
    source = re.sub(r"\bxrange\b", "range", source)
    source = re.sub(r"\bunichr\b", "chr", source)
    source = re.sub(r"^(\s*)print\b.*$", r"\1pass", source, flags=re.M)
    source = re.sub(r"^import binascii$", "import binascii_of_texts as binascii", source, flags=re.M)
    source = re.sub(r"^import binascii, ", "import binascii_of_texts as binascii, ", source, flags=re.M)
    source = source.replace("(object, Case, )", "(Case, )")
    # Whole numbers divided gave whole numbers.
    return source.replace("len(self.payload) / self.p", "len(self.payload) // self.p")


def load_cases(suite):
    found = next(pathlib.Path(suite).rglob("case/case1_1_1.py"), None)
    if found is None:
        sys.exit(f"no cases below {suite}")
    folder = tempfile.mkdtemp()
    for path in found.parent.glob("case*.py"):
        # Compression is no part of the hub's protocol. 9.9 has no end: it sends until something breaks, and the suite leaves it out.
        if not path.name.startswith(("case12", "case9_9")):
            text = "# -*- coding: latin-1 -*-\n" + adapted(path.read_text("latin-1"))
            pathlib.Path(folder, path.name).write_text(text, "latin-1")
    sys.path.insert(0, folder)
    base = importlib.import_module("case").Case
    cases = {}
    for name in sorted(os.listdir(folder)):
        if name == "case.py" or not name.endswith(".py"):
            continue
        module = importlib.import_module(name[:-3])
        members = list(vars(module).values())
        members += [one for many in members if isinstance(many, list) for one in many]
        for member in members:
            match = isinstance(member, type) and issubclass(member, base) and re.fullmatch(r"Case((?:\d+_)+\d+)", member.__name__)
            if match:
                cases[tuple(int(part) for part in match[1].split("_"))] = member
    return dict(sorted(cases.items()))


def masked(key, payload):
    if not payload:
        return payload
    repeated = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(payload), "big")


class Fuzzer:
    """What a case calls `self.p`: a client that does exactly what it is told, however wrong that is."""

    CLOSE_STATUS_CODE_NORMAL = 1000
    CLOSE_STATUS_CODE_GOING_AWAY = 1001
    CLOSE_STATUS_CODE_PROTOCOL_ERROR = 1002
    CLOSE_STATUS_CODE_UNSUPPORTED_DATA = 1003
    CLOSE_STATUS_CODE_INVALID_PAYLOAD = 1007

    def __init__(self, address):
        self.address = address
        self.factory = types.SimpleNamespace(isServer=False)
        self.state = PROTOCOL.STATE_CONNECTING
        self.createWirelog = False
        self.autoFragmentSize = None
        self.connectionWasOpen = self.closedByMe = self.failedByMe = self.droppedByMe = self.wasClean = False
        self.localCloseCode = self.localCloseReason = self.remoteCloseCode = self.remoteCloseReason = None
        self.txFrameStats = {}
        self.timers, self.turn = [], 0
        self.received, self.partial, self.out = bytearray(), None, []
        self.trafficStats = None

    # ---- what cases ask for -------------------------------------------------------------------------------------------

    def enableWirelog(self, _):
        pass

    def sendFrame(self, opcode, payload="", fin=True, rsv=0, mask=None, payload_len=None, chopsize=None, sync=False):
        data = payload.encode("latin-1")
        if payload_len is not None:
            data = (data * (payload_len // max(1, len(data)) + 1))[:payload_len] if data else b""
        self.txFrameStats[opcode] = self.txFrameStats.get(opcode, 0) + 1
        key = os.urandom(4)
        self.raw(self.head(opcode, len(data), fin, rsv, key) + masked(key, data), chopsize)

    @staticmethod
    def head(opcode, length, fin, rsv, key):
        first = (0x80 if fin else 0) | (rsv << 4) | opcode
        if length <= 125:
            return bytes([first, 0x80 | length]) + key
        if length <= 0xFFFF:
            return bytes([first, 0x80 | 126]) + length.to_bytes(2, "big") + key
        return bytes([first, 0x80 | 127]) + length.to_bytes(8, "big") + key

    def sendMessage(self, payload, binary=False, isBinary=False, fragmentSize=None):
        opcode = 2 if binary or isBinary else 1
        size = fragmentSize or self.autoFragmentSize
        if not size or len(payload) <= size:
            return self.sendFrame(opcode, payload)
        for at in range(0, len(payload), size):
            self.sendFrame(opcode if at == 0 else 0, payload[at : at + size], fin=at + size >= len(payload))

    def beginMessage(self, binary=False):
        self.opcode = 2 if binary else 1

    def beginMessageFrame(self, length):
        self.key, self.sent = os.urandom(4), 0
        # Without the end bit: the message ends with an empty continuation.
        self.raw(self.head(self.opcode, length, False, 0, self.key))

    def sendMessageFrameData(self, payload, sync=False):
        data = payload.encode("latin-1")
        key = self.key[self.sent % 4 :] + self.key[: self.sent % 4]
        self.sent += len(data)
        self.raw(masked(key, data))

    def endMessage(self):
        self.sendFrame(0, "")

    def sendClose(self, code=None, reason=None):
        if self.state == PROTOCOL.STATE_OPEN:
            self.sendCloseFrame(code, reason)

    def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
        payload = b"" if code is None else int(code).to_bytes(2, "big")
        payload += (reasonUtf8 or "").encode("latin-1")
        self.sendFrame(8, payload.decode("latin-1"))
        if self.state == PROTOCOL.STATE_OPEN:
            self.state = PROTOCOL.STATE_CLOSING
            self.closedByMe = not isReply
            self.localCloseCode = code

    def continueLater(self, delay, what, tag=None):
        self.later(delay, lambda: self.state != PROTOCOL.STATE_CLOSED and what())

    def killAfter(self, delay):
        self.later(delay, self.fail)

    def closeAfter(self, delay):
        self.later(delay, lambda: self.state != PROTOCOL.STATE_CLOSED and self.sendClose())

    # ---- how it is done -------------------------------------------------------------------------------------------------

    def later(self, delay, what):
        self.turn += 1
        heapq.heappush(self.timers, (time.monotonic() + delay, self.turn, what))

    def fail(self):
        if self.state != PROTOCOL.STATE_CLOSED:
            self.failedByMe = self.droppedByMe = True
            self.state = PROTOCOL.STATE_CLOSED

    def raw(self, data, chopsize=None):
        if chopsize:
            self.out.extend(data[at : at + chopsize] for at in range(0, len(data), chopsize))
        else:
            self.out.append(data)

    def shake_hands(self):
        self.socket = socket.create_connection(self.address, timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        host = f"{self.address[0]}:{self.address[1]}"
        self.socket.sendall(
            f"GET /v1/stock/ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self.received:
            self.received += self.socket.recv(READ_BYTES) or sys.exit("no handshake")
        head, _, rest = bytes(self.received).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        self.received = bytearray(rest)
        self.socket.setblocking(False)
        self.state, self.connectionWasOpen = PROTOCOL.STATE_OPEN, True

    def run(self, case):
        self.shake_hands()
        self.case = case(self)
        self.case.onOpen()
        self.later(CASE_TIMEOUT_S, self.fail)
        while self.state != PROTOCOL.STATE_CLOSED:
            wait = max(0, self.timers[0][0] - time.monotonic())
            readable, writable, _ = select.select([self.socket], [self.socket] if self.out else [], [], wait)
            if writable:
                self.write()
            if readable and not self.read():
                self.state = PROTOCOL.STATE_CLOSED
            while self.timers and self.timers[0][0] <= time.monotonic() and self.state != PROTOCOL.STATE_CLOSED:
                heapq.heappop(self.timers)[2]()
        self.socket.close()
        self.case.onConnectionLost(self.failedByMe)
        return self.case

    def write(self):
        # A piece at a time: a chop shall be a packet of its own.
        try:
            sent = self.socket.send(self.out[0])
        except BlockingIOError:
            return
        except OSError:
            self.out.clear()
            return
        rest = self.out[0][sent:]
        if rest:
            self.out[0] = rest
        else:
            del self.out[0]

    def read(self):
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.received += data
        while self.next_frame():
            pass
        return bool(data)

    def next_frame(self):
        got = self.received
        if len(got) < 2:
            return False
        first, length, start = got[0], got[1], 2
        assert length & 0x80 == 0, "a server does not mask"
        if length >= 126:
            start = 4 if length == 126 else 10
            if len(got) < start:
                return False
            length = int.from_bytes(got[2:start], "big")
        if len(got) < start + length:
            return False
        payload = bytes(got[start : start + length])
        del got[: start + length]
        self.frame(first & 0x0F, bool(first & 0x80), payload)
        return True

    def frame(self, opcode, fin, payload):
        text = Text(payload.decode("latin-1"))
        if opcode == 8:
            return self.closed(payload)
        if opcode == 9:
            self.sendFrame(10, text)
            return self.case.onPing(str(text))
        if opcode == 10:
            return self.case.onPong(str(text))
        kind, parts = self.partial or (opcode, [])
        parts.append(str(text))
        self.partial = None if fin else (kind, parts)
        if fin:
            self.case.onMessage("".join(parts), kind == 2)

    def closed(self, payload):
        if len(payload) >= 2:
            self.remoteCloseCode = int.from_bytes(payload[:2], "big")
            self.remoteCloseReason = payload[2:].decode()
        self.wasClean = True
        if self.state == PROTOCOL.STATE_OPEN:
            self.sendCloseFrame(self.remoteCloseCode, isReply=True)
            self.state = PROTOCOL.STATE_CLOSING
        self.case.onClose(True, self.remoteCloseCode, self.remoteCloseReason)
        self.later(SERVER_DROP_S, self.drop)

    def drop(self):
        self.droppedByMe = True
        self.state = PROTOCOL.STATE_CLOSED


def main():
    suite, address, *only = sys.argv[1:]
    host, _, port = address.rpartition(":")
    cases = load_cases(suite)
    if not only and len(cases) != EXPECTED_CASES:
        sys.exit(f"{len(cases)} cases were found, not {EXPECTED_CASES}")
    chosen = {number: case for number, case in cases.items() if not only or ".".join(map(str, number)) in only}

    def run(item):
        number, case = item
        started = time.monotonic()
        done = Fuzzer((host, int(port))).run(case)
        return number, done, time.monotonic() - started

    counts, bad = {}, []
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for number, done, took in pool.map(run, chosen.items()):
            name = ".".join(map(str, number))
            counts[done.behavior] = counts.get(done.behavior, 0) + 1
            if only or done.behavior not in GOOD or done.behaviorClose not in GOOD_CLOSE:
                print(f"{name}: {done.behavior} / {done.behaviorClose} in {took:.1f} s: {done.result} {done.resultClose}")
            if done.behavior not in GOOD or done.behaviorClose not in GOOD_CLOSE:
                bad.append(name)
    summary = ", ".join(f"{count} {behavior}" for behavior, count in sorted(counts.items()))
    print(f"{len(chosen)} cases: {summary}")
    if bad:
        sys.exit(f"not as the standard says: {', '.join(bad)}")
    print("all cases passed")


if __name__ == "__main__":
    main()
