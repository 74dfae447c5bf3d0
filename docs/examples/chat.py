"""A chat over Shardwire's WebSocket with nothing but the `websockets` package.

    python docs/examples/chat.py --user 9                     prints what comes
    python docs/examples/chat.py --user 7 --to 9 hello there  sends, then prints what comes
"""

import argparse
import asyncio
import json
import subprocess
import uuid

import websockets


async def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("--user", required=True, help="who you are, a number")
    args.add_argument("--to", help="whom to write to, a number")
    args.add_argument("--url", default="ws://127.0.0.1:7401/ws")
    args.add_argument("--shardwire", default="target/release/shardwire", help="the binary that makes the token")
    args.add_argument("--data", default="./shardwire-data", help="the server's data folder")
    args.add_argument("text", nargs="*")
    args = args.parse_args()

    command = [args.shardwire, "token", "--data", args.data, "--user", args.user, "--device", "1"]
    token = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    async with websockets.connect(args.url, additional_headers={"Authorization": f"Bearer {token}"}) as socket:
        if args.to:
            message = {"type": "message", "to": args.to, "content": " ".join(args.text), "client_msg_id": str(uuid.uuid4())}
            await socket.send(json.dumps(message))
        async for text in socket:
            event = json.loads(text)
            print(event, flush=True)
            if event["type"] in ("message", "entry"):
                ack = {"type": "ack", "chat_id": event["chat_id"], "message_id": event["message_id"], "status": "delivered"}
                await socket.send(json.dumps(ack))


if __name__ == "__main__":
    asyncio.run(main())
