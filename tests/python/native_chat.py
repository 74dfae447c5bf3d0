"""Two users chat over native frames with nothing of ours but schema/fbs/client.fbs and docs/PROTOCOL.md.

    python3 tests/python/native_chat.py 127.0.0.1:7400 TOKEN_OF_USER TOKEN_OF_ANOTHER

With `tls://` before the address it goes through TLS; SSL_CERT_FILE names the authorities to trust.
"""

import pathlib
import socket
import ssl
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "docs" / "examples"))
import swc1  # noqa: E402
from frames import NAMES, frame, id_of, octets, opened  # noqa: E402

PATIENCE_S = 20


class Session:
    """One connection; frames that were not asked for wait."""

    def __init__(self, address, token):
        host, port = address.removeprefix("tls://").rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
        if address.startswith("tls://"):
            self.socket = ssl.create_default_context().wrap_socket(self.socket, server_hostname=host)
        self.input, self.waiting = b"", []
        self.say("Hello", version_min=1, version_max=1, token=token.encode(), agent=b"native_chat.py")
        self.welcome = self.expect("Welcome")
        assert self.welcome.Version() == 1 and self.welcome.FrameLimitBytes() >= 1024 and self.welcome.Window() > 0
        self.user = self.welcome.UserId()

    def say(self, kind, **fields):
        self.socket.sendall(frame(kind, **fields))

    def read(self):
        while True:
            length = swc1.frame_length(self.input)
            if length is not None and length <= len(self.input):
                data, self.input = self.input[:length], self.input[length:]
                heard = opened(data)
                if heard:
                    return heard
                continue
            more = self.socket.recv(65536)
            assert more, "the server ended the connection"
            self.input += more

    def expect(self, kind, fits=lambda table: True):
        for at, (name, table) in enumerate(self.waiting):
            if name == kind and fits(table):
                self.waiting.pop(at)
                return table
        while True:
            name, table = self.read()
            if name == kind and fits(table):
                return table
            assert name not in ("Error", "Goodbye"), (name, table.Code(), octets(table, "Text"))
            self.waiting.append((name, table))


def ack_of(session, client_msg_id):
    ack = session.expect("SendAck", lambda table: octets(table, "ClientMsgId") == client_msg_id)
    return id_of(ack.ChatId()), id_of(ack.MessageId()), ack.Seq(), ack.TimestampMs()


def main(address, *tokens):
    first, second = (Session(address, token) for token in tokens)
    first.expect("Synced")
    second.expect("Synced")
    first.say("Send", client_msg_id=b"n1", to=second.user, body=b"\x00\xff body")
    sent = ack_of(first, b"n1")
    entry = second.expect("Entry", lambda table: id_of(table.MessageId()) == sent[1])
    assert (id_of(entry.ChatId()), entry.Seq(), entry.TimestampMs()) == (sent[0], sent[2], sent[3])
    assert octets(entry, "Body") == b"\x00\xff body" and octets(entry, "ClientMsgId") == b"n1"
    assert entry.SenderId() == first.user and entry.Kind() == 0
    for status in (0, 1):
        second.say("Mark", chat_id=sent[0], seq=sent[2], status=status)
        receipt = first.expect("Receipt", lambda table: table.Status() == status)
        assert id_of(receipt.ChatId()) == sent[0] and receipt.Seq() == sent[2] and receipt.UserId() == second.user
    first.say("Ping", nonce=77)
    assert first.expect("Pong").Nonce() == 77
    first.socket.close()
    first = Session(address, tokens[0])
    first.say("Send", client_msg_id=b"n1", to=second.user, body=b"\x00\xff body", retry=True)
    assert ack_of(first, b"n1") == sent, "a resend gets the same answer"
    first.say("Send", client_msg_id=b"n2", chat_id=sent[0], body=b"")
    assert ack_of(first, b"n2")[2] == sent[2] + 1
    second.say("HistoryRequest", request_id=9, chat_id=sent[0], after_seq=sent[2] - 1, limit=10)
    page = second.expect("HistoryPage")
    assert page.RequestId() == 9 and page.HeadSeq() == sent[2] + 1 and page.EntriesLength() == 2, page.EntriesLength()
    nested = page.Entries(0)
    data = bytes(nested.Frame(i) for i in range(nested.FrameLength()))
    assert NAMES[swc1.verify(data, from_server=True)] == "Entry"
    print("ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
