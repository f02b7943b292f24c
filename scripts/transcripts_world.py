"""Where the commands run that the documents show: its servers, clients and stand-ins."""

import os
import pathlib
import re
import subprocess
import sys
import time

SERVER = """
import socketserver
class Quiet(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(1)
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("127.0.0.1", 3306), Quiet).serve_forever()
"""
# What a backup is here: it connects, and has nothing to say for a while.
CLIENT = """
import socket, sys, time
connection = socket.create_connection(("127.0.0.1", 3306))
time.sleep(float(sys.argv[1]) if sys.argv[1:] else 0)
"""
# What has the name of another program: it connects, and fails if its connection is not kept alive.
STAND_IN = """#!/usr/bin/python3
import os, socket, sys, time
connection = socket.create_connection(("db.example.com", 3306))
on = connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
idle = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
time.sleep(float(os.environ.get("STAND_IN_STAYS", 0)))
sys.exit(0 if on and idle < 7200 else f"{sys.argv[0]}: keepalive {on}, idle {idle}")
"""
STAND_INS = "mysqldump", "pg_dump", "ssh", "rsync", "java", "node", "COMMAND"
# As far as it matters here: it does not hand the environment on.
SUDO = """#!/bin/sh
exec env -i PATH="$PATH" LD_LIBRARY_PATH="$LD_LIBRARY_PATH" "$@"
"""
# Makes connections in a cgroup, which nobody accepts, and counts its rounds.
TRAFFIC = """
exec 4<>"$1"
while :; do
    : 2>/dev/null 3<>/dev/tcp/127.0.0.1/9
    : 2>/dev/null 3<>/dev/tcp/127.0.0.2/9
    printf . >>"$2"
    read -r -t 0.02 <&4
done
"""
UNITS = "nginx", "cron", "postgresql@", "elasticsearch", "php8.2-fpm"
UNIT = """[Service]
ExecStart=/usr/bin/python3
"""


class World:
    """In namespaces of its own already; ends what it has started."""

    def __enter__(self):
        self.started = []
        # They cover what is there; so does /usr/local already.
        for place in ("/etc/default", "/etc/systemd/system"):
            subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["scripts/install", "--prefix", "/usr/local"], check=True, stdout=subprocess.DEVNULL)
        self.work = pathlib.Path("/usr/local/work")
        self.work.mkdir()
        for name, text in {"server.py": SERVER, "client.py": CLIENT, "traffic.sh": TRAFFIC, "rounds": ""}.items():
            (self.work / name).write_text(text)
        for name, text in [*((name, STAND_IN) for name in STAND_INS), ("sudo", SUDO)]:
            program = pathlib.Path("/usr/local/bin", name)
            program.write_text(text)
            program.chmod(0o755)
        for name in UNITS:
            pathlib.Path(f"/etc/systemd/system/{name}.service").write_text(UNIT)
        hosts = self.work / "hosts"
        hosts.write_text("127.0.0.1 localhost db.example.com backup.example.com\n")
        subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
        try:
            self.start_programs()
            self.start_traffic()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.started:
            process.kill()
            process.wait()

    def start_programs(self):
        self.start(["/usr/bin/python3", "server.py"])
        self.start(["redis-server", "--port", "6379", "--save", "", "--daemonize", "no"])
        wait("servers", lambda: all(re.search(rf"LISTEN.*:{port}\b", sockets()) for port in (3306, 6379)))
        self.client = self.start(["/usr/bin/python3", "client.py", "600"])
        self.preloaded = self.start(["sh", "-c", "LD_PRELOAD=libkashim.so exec redis-cli monitor"])
        wait("clients", lambda: sockets().count("ESTAB") >= 4)

    def start_traffic(self):
        """That of a service that runs: two processes in a cgroup of its name."""
        # With this cgroup namespace's own as its root; the same tree cannot be mounted on itself.
        for place in ("/usr/local/cgroup", "/sys/fs/cgroup"):
            subprocess.run(["umount", "-l", place], stderr=subprocess.DEVNULL)
        subprocess.run(["mount", "-t", "cgroup2", "none", "/sys/fs/cgroup"], check=True)
        service = pathlib.Path("/sys/fs/cgroup/system.slice/nginx.service")
        service.mkdir(parents=True)
        os.mkfifo(self.work / "nothing")
        script = f"echo $$ >{service}/cgroup.procs; exec bash traffic.sh nothing rounds"
        for _ in range(2):
            self.start(["sh", "-c", script])
        self.wait_for_traffic()

    def wait_for_traffic(self):
        """Until each of its processes has begun and ended a round."""
        rounds = self.work / "rounds"
        begun = rounds.stat().st_size
        wait("traffic", lambda: rounds.stat().st_size >= begun + 6)

    def environment(self):
        kept = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", "HOME": "/root", "COLUMNS": "150"}
        return kept | {"LD_LIBRARY_PATH": "/usr/local/lib"}

    def start(self, command, **more):
        nothing = subprocess.DEVNULL
        environment = self.environment() | more
        process = subprocess.Popen(command, cwd=self.work, env=environment, stdin=nothing, stdout=nothing, stderr=nothing)
        self.started.append(process)
        return process

    def run(self, command, timeout=60, directory=None, **more):
        """By a shell; with standard error in its output."""
        return subprocess.run(
            ["bash", "-c", command], cwd=directory or self.work, env=self.environment() | more, stdin=subprocess.DEVNULL,
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
        )

    def run_in_checkout(self, command):
        """With the caller's cargo: it may build something."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME") if name in os.environ}
        return self.run(command, timeout=600, directory=os.getcwd(), **kept)


def sockets():
    return subprocess.run(["ss", "-tanH"], capture_output=True, text=True, check=True).stdout


def wait(what, come):
    deadline = time.monotonic() + 20
    while not come():
        if time.monotonic() > deadline:
            sys.exit(f"scripts/transcripts: no {what} after 20 s")
        time.sleep(0.02)
