"""Asks REST everything its description allows, and much it does not: schemathesis against /openapi.json.

usage: rest_description.py http://HOST:PORT TOKEN CHAT_ID   (an operator's token of user 7; a chat of theirs)
"""

import pathlib
import re
import subprocess
import sys
import tempfile

# Ids that exist, so that more than refusals is seen; everything else is made up.
CONFIG = """
[[operations]]
include-operation-id = "direct_messages"
parameters = { user1 = "7" }

[[operations]]
include-operation-id = "chat_messages"
parameters = { chat_id = "CHAT" }
"""


def main() -> int:
    base, token, chat = sys.argv[1:]
    program = pathlib.Path(sys.executable).parent / "schemathesis"
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "schemathesis.toml"
        config.write_text(CONFIG.replace("CHAT", chat))
        run = [program, "--config-file", config, "run", f"{base}/openapi.json"]
        run += ["-H", f"Authorization: Bearer {token}", "--checks", "all", "--max-examples", "30", "--seed", "1"]
        run += ["--generation-database", "none", "--no-color"]
        done = subprocess.run(run, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0 or not re.search(r"(\d+) selected / \1 total", done.stdout):
        print(done.stdout, done.stderr, file=sys.stderr)
        return 1
    print("ok")
    return 0


sys.exit(main())
