"""Runs the commands that the documents show and do not record."""

import re
import signal
import sys

# A word that begins one, with the variables before it taken away.
PROGRAMS = "ka", "ka-run", "sudo", "ss", "grep", "nc", "curl", "docker", "install", "systemctl", "mysqldump", "ssh", "["
INLINE = re.compile(r"`([^`]+)`")
FENCED = re.compile(r"```(\w*)\n(.*?)```", re.S)
JOB = re.compile(r"^(?:[\d*]+ ){5}")
VARIABLES = re.compile(r"^(?:\w+=(?:'[^']*'|\S*)\s*)+")

# Options that are named, with what belongs to them, and without the rest of a command.
NAMED = {
    "ka-run --for NAME", "ka-run --for", "ka-run --idle 5m --rule ':22 off'", "ka run --mode cgroup", "ka systemd --mode cgroup",
    "ka probe --json",
}
NOT_RUN = {
    "scripts/test --install": "it runs this",
    "curl --keepalive-time 120": "curl's own option, and a part of a command",
    "nc -lk 5000": "netcat's",
    "ka-run torsocks COMMAND": "it needs a Tor; a test of coexistence has one",
    "systemctl daemon-reload && systemctl try-restart cron": "no systemd runs here",
}
# With the names of what is there.
PLACES = {
    "systemd NAME": "systemd nginx", "systemd UNIT": "systemd nginx", "HOST:PORT": "127.0.0.1:3306", "db.example.com:5432": "db.example.com:3306", "NAME": "python3", "FORM": "sh", "PROGRAM": "COMMAND",
    "scripts/install": "scripts/install --prefix /usr/local", "/backup/": "/usr/local/work/",
    "systemctl enable --now": "systemctl --root=/ enable",
}
# What ends otherwise than with 0, by its beginning, and why.
STATUSES = {
    "ka status": (1, "one connection would not outlive the box"),
    "ka systemd nginx --remove": (1, "nothing may be there"),
    "ka systemd cron --remove": (1, "nothing is there"),
    "KA_DISABLE=1": (1, "the stand-in misses the library"),
    "ka probe": (128 + signal.SIGINT, "it is interrupted, since it takes as long as the path remembers"),
}


def shown(text):
    """The commands of a document, each once, and each as it is written."""
    found = {}
    for language, block in FENCED.findall(text):
        if language == "":
            found |= dict.fromkeys(line.strip() for line in block.splitlines())
    rest = FENCED.sub("", text)
    found |= dict.fromkeys(line.strip() for line in rest.splitlines() if line.startswith("    "))
    prose = "\n".join(line for line in rest.splitlines() if not line.startswith("    "))
    found |= dict.fromkeys(" ".join(code.split()) for code in INLINE.findall(prose))
    return [command for command in found if is_command(command)]


def is_command(code):
    words = VARIABLES.sub("", JOB.sub("", code)).split()
    if not words or words[0].startswith("-"):
        return False
    is_ours = words[0].split("/")[-1] in PROGRAMS or words[0].startswith("scripts/")
    # `ka set` alone is the name of a subcommand, as `ssh` is that of a program.
    return is_ours and len(words) > (2 if words[0] == "ka" else 1)


def run_all(texts, world):
    """Runs those of these documents; returns how many did not work."""
    left = {name: set(names) for name, names in {"NAMED": NAMED, "NOT_RUN": NOT_RUN}.items()}
    wrong = ran = 0
    for document, text in texts.items():
        for command in shown(text):
            if command in NAMED or command in NOT_RUN:
                left["NAMED" if command in NAMED else "NOT_RUN"].discard(command)
            elif command.startswith("docker "):
                continue  # No Docker runs here.
            else:
                ran += 1
                wrong += not works(document, command, world)
    for name, commands in left.items():
        for command in commands:
            wrong += 1
            print(f"scripts/transcripts_commands.py: {name} has what no document shows: {command}", file=sys.stderr)
    print(f"{ran} commands ran, {wrong} did not work")
    return wrong


def works(document, command, world):
    real = JOB.sub("", command)
    for place, there in PLACES.items():
        real = re.sub(rf"(?<![\w-]){re.escape(place)}(?![\w/])" if place.isupper() else re.escape(place), there, real)
    # The one that is spoken of: one without the library that gets it, or one that has it.
    pid = world.preloaded.pid if "grep" in real else world.client.pid
    real = real.replace("PID", str(pid))
    in_checkout = real.startswith(("scripts/", "install "))
    allowed, _ = next((STATUSES[begin] for begin in STATUSES if real.startswith(begin)), (0, None))
    if real.startswith("ka status mysqldump"):
        world.start(["mysqldump"], LD_PRELOAD="libkashim.so", STAND_IN_STAYS="60")
    if real.startswith("KA_"):
        real = f". kashim-profile.sh; {real}"
    if real.startswith("ka probe"):
        real = f"exec timeout --foreground --preserve-status -s INT 3 {real}"
    ran = world.run_in_checkout(real) if in_checkout else world.run(real)
    if ran.returncode in (0, allowed):
        return True
    print(f"{document}: {command}\n  ran as: {real}\n  status {ran.returncode}\n{ran.stdout}", file=sys.stderr)
    return False
