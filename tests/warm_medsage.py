"""The `medsage` command without the seconds that its imports take: a process that has imported
everything forks for each call, with the caller's arguments, folder, variables and files.

    python -m tests.warm_medsage SOCKET    # until its input ends

CLIENT is what stands on the PATH as `medsage`. Its process lasts as long as the command, hands on
SIGTERM and SIGINT, and ends with its exit code; so shells see a command like any other.
"""

import json
import os
import signal
import socket
import sys
import traceback
from importlib import import_module

CLIENT = """\
import json, os, signal, socket, struct, sys
line = socket.socket(socket.AF_UNIX)
line.connect(os.environ["WARM_MEDSAGE"])
asked = {"arguments": sys.argv[1:], "folder": os.getcwd(), "variables": dict(os.environ)}
content = json.dumps(asked).encode()
socket.send_fds(line, [struct.pack("!I", len(content))], [0, 1, 2])
line.sendall(content)
child = int(line.recv(16))
for each in (signal.SIGTERM, signal.SIGINT):
    signal.signal(each, lambda number, frame: os.kill(child, number))
said = line.recv(16)
sys.exit(int(said) if said else 137)
"""


def main(place: str) -> None:
    """Serve calls at the socket until the input ends."""
    from deploy.cli import COMMANDS

    for module in COMMANDS.values():
        import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(place)
    listening.listen()
    print("ready", flush=True)
    if os.fork() == 0:
        while True:
            line, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _answer(line)
            line.close()
    sys.stdin.read()
    os.killpg(0, signal.SIGTERM)


def _answer(line: socket.socket) -> None:
    head, files, _, _ = socket.recv_fds(line, 4, 3)
    wanted, content = int.from_bytes(head, "big"), b""
    while len(content) < wanted:
        content += line.recv(wanted - len(content))
    asked = json.loads(content)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["variables"])
    sys.argv = ["medsage", *asked["arguments"]]
    line.sendall(b"%d" % os.getpid())
    code = _run()
    sys.stdout.flush()
    sys.stderr.flush()
    line.sendall(b"%d" % code)
    os._exit(code)


def _run() -> int:
    from deploy.cli import main as command

    try:
        command()
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    main(sys.argv[1])
