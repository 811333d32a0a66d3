"""Stands for one installed command: has the server run it, or runs it itself when there is none."""

import json
import os
import signal
import socket
import sys

HERE = os.path.dirname(os.path.abspath(sys.argv[0]))
NAME = os.path.basename(sys.argv[0])

caller = socket.socket(socket.AF_UNIX)
try:
    if any(name.startswith("PYTHON") for name in os.environ):
        raise OSError("Python reads these when it starts, which the server has done already")
    caller.connect(os.path.join(HERE, "socket"))
except OSError:
    os.execv(os.path.join(os.path.dirname(sys.executable), NAME), [NAME, *sys.argv[1:]])
asked = json.dumps([NAME, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(caller, [len(asked).to_bytes(8, "big")], [0, 1, 2])
caller.sendall(asked)
answer = caller.makefile("rb")
command = int(answer.readline())
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda number, _: os.kill(command, number))
code = int(answer.readline() or -signal.SIGKILL)
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if code != -signal.SIGKILL else None
    os.kill(os.getpid(), -code)
sys.exit(code)
