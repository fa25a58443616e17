"""A small imitation of PBS Pro's commands: its answers, exit codes and messages as recorded, jobs as real processes.

Sources: the reference guide's qsub, qstat, qdel and qselect; OpenPBS's own tests for messages; exit codes are error
numbers modulo 256 (15001 unknown job: 153; 15018 unknown queue: 170; 15139 finished job: 35).
"""

import json
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: One program under four names. `$state/orders.json` says what it is to do otherwise than well.
PROGRAM = """\
#!{python} -IS
import json, os, shutil, subprocess, sys, time
state = {state!r}
name, words = os.path.basename(sys.argv[0]), sys.argv[1:]

def orders():
    try:
        with open(state + "/orders.json") as file:
            return json.load(file)
    except FileNotFoundError:
        return {{}}

def say(text, code):
    sys.stderr.write(text + "\\n")
    sys.exit(code)

def read(number):
    with open(f"{{state}}/{{number.partition('.')[0]}}.json") as file:
        return json.load(file)

def write(job):
    path = f"{{state}}/{{job['number'].partition('.')[0]}}.json"
    with open(path + ".part", "w") as file:
        json.dump(job, file)
    os.rename(path + ".part", path)

def all_jobs():
    return [read(one[:-5]) for one in sorted(os.listdir(state)) if one[:-5].isdigit() and one.endswith(".json")]

def after(flag, default=""):
    return words[words.index(flag) + 1] if flag in words else default

def run_job(job):
    script = job["script"]
    spool = f"{{state}}/{{job['number']}}.OU"
    environ = {{"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), "USER": "someone"}}
    environ.update(PBS_JOBID=job["number"], PBS_JOBFS=job["jobfs"], PBS_NCPUS=job["resources"].get("ncpus", "1"))
    environ["GITHUB_TOKEN_OF_THE_NODE"] = "nobody passes this on"
    os.makedirs(job["jobfs"], exist_ok=True)
    while job["attributes"]["job_state"] in "QH":
        time.sleep(0.05)
        job = read(job["number"])
        if job["attributes"]["job_state"] in "QH" and orders().get("start", True):
            job["attributes"]["job_state"] = "R"
            job["attributes"]["exec_host"] = "gadi-cpu-clx-0001/0*" + job["resources"].get("ncpus", "1")
    if job["attributes"]["job_state"] == "R":
        with open(spool, "wb") as out:
            child = subprocess.Popen(["/bin/sh", script], env=environ, stdout=out, stderr=out, start_new_session=True)
        job["pid"] = child.pid
        write(job)
        status = child.wait()
        job = read(job["number"])
        job["attributes"].setdefault("Exit_status", 256 - status if status < 0 else status)
        with open(spool, "ab") as out:
            out.write(job.get("said", "").encode())
        time.sleep(orders().get("late", 0))
        shutil.copyfile(spool, job["output"])  # only now, as PBS does it
    job["attributes"]["job_state"] = "F"
    write(job)

def qsub():
    wanted = orders().get("qsub")
    if wanted:
        left = wanted.pop(0)
        rest = orders()
        rest["qsub"] = wanted
        with open(state + "/orders.json", "w") as file:
            json.dump(rest, file)
        if not left.get("all the same"):
            say(left["says"], left["code"])
    resources = dict(words[at + 1].partition("=")[::2] for at, one in enumerate(words) if one == "-l")
    number = str(1 + len(all_jobs())) + ".gadi-pbs"
    attributes = {{"Job_Name": after("-N"), "job_state": "Q", "queue": after("-q", "normal-exec"), "comment": "Not "
                  "Running: Insufficient amount of resource: ncpus", "Variable_List": {{"PBS_O_HOME": "/home/x"}}}}
    job = {{"number": number, "script": words[-1], "output": after("-o"), "resources": resources, "words": words,
           "attributes": attributes, "jobfs": f"{{state}}/jobfs-{{number}}"}}
    write(job)
    if os.fork() == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        if os.fork() == 0:
            run_job(job)
        os._exit(0)
    if wanted is not None and left.get("all the same"):
        say(left["says"], left["code"])
    print(number)

def qstat():
    number, plain = words[-1], "-F" not in words
    try:
        job = read(number)
    except FileNotFoundError:
        say(f"qstat: Unknown Job Id {{number}}", 153)
    if "-x" in words and orders().get("no history"):
        say("qstat: PBS is not configured to maintain job history", 1)
    if job["attributes"]["job_state"] == "F" and "-x" not in words:
        say(f"qstat: {{number}} Job has finished, use -x or -H to obtain historical job information", 35)
    if plain:
        print(f"Job Id: {{number}}")
        for key, value in job["attributes"].items():
            print(f"    {{key}} = {{value}}")
        print()
        return
    text = json.dumps({{"timestamp": int(time.time()), "pbs_version": "2024.1", "pbs_server": "gadi-pbs", "Jobs":
        {{number: job["attributes"]}}}}, indent=4)
    print(text.replace('"/home/x"', '005,\\n "BASH_FUNC": "() {{ echo "hi" }}"') if orders().get("bad json") else text)

def qdel():
    time.sleep(orders().get("qdel takes", 0))
    try:
        job = read(words[-1])
    except FileNotFoundError:
        say(f"qdel: Unknown Job Id {{words[-1]}}", 153)
    if job["attributes"]["job_state"] == "F":
        say(f"qdel: Job has finished {{words[-1]}}", 35)
    if job["attributes"]["job_state"] in "QH":
        job["attributes"]["job_state"] = "F"
        write(job)
    elif "pid" in job:
        os.killpg(job["pid"], 15)

def qselect():
    for job in all_jobs():
        if job["attributes"]["Job_Name"] == after("-N") and job["attributes"]["job_state"] != "F":
            print(job["number"])

if name in orders().get("down", []):
    say("Connection refused\\n" + name + ": cannot connect to server gadi-pbs (errno=111)", 111)
{{"qsub": qsub, "qstat": qstat, "qdel": qdel, "qselect": qselect}}[name]()
"""


@dataclass(frozen=True, slots=True)
class FakePbs:
    """The imitation, in its folder: `bin` for the site file, and what a test wants to know or to have happen."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> "FakePbs":
        """Four programs."""
        made = cls(root)
        (root / "state").mkdir(parents=True)
        (root / "bin").mkdir()
        program = root / "bin" / "qsub"
        program.write_text(PROGRAM.format(python=Path(sys.executable).resolve(), state=str(root / "state")))
        program.chmod(0o755)
        for name in ("qstat", "qdel", "qselect"):
            (root / "bin" / name).symlink_to("qsub")
        return made

    @property
    def bin(self) -> str:
        return str(self.root / "bin")

    def order(self, **orders: Any) -> None:
        """How it misbehaves from now on."""
        part = self.root / "state" / "orders.part"
        part.write_text(json.dumps({key.replace("_", " "): value for key, value in orders.items()}))
        part.rename(self.root / "state" / "orders.json")

    def jobs(self) -> list[dict[str, Any]]:
        """Every job that there ever was."""
        return [json.loads(path.read_text()) for path in sorted((self.root / "state").glob("[0-9]*.json"))]

    def live(self) -> list[str]:
        """The numbers of those that are not over."""
        return [job["number"] for job in self.jobs() if job["attributes"]["job_state"] != "F"]

    def change(self, number: str, said: str = "", **attributes: object) -> None:
        """What the server notes about a job, and what it will write into the job's output."""
        path = self.root / "state" / f"{number.partition('.')[0]}.json"
        job = json.loads(path.read_text())
        job["attributes"].update(attributes)
        job["said"] = said
        part = path.with_suffix(".test")
        part.write_text(json.dumps(job))
        part.rename(path)

    def kill(self, number: str, said: str = "", **attributes: object) -> None:
        """The machine ends a running job, with its own reason."""
        self.change(number, said, **attributes)
        (job,) = [one for one in self.jobs() if one["number"] == number]
        os.killpg(job["pid"], signal.SIGKILL)

    def end(self) -> None:
        """No process of it is left."""
        for job in self.jobs():
            if job["attributes"]["job_state"] != "F" and "pid" in job:
                with suppress(ProcessLookupError):
                    os.killpg(job["pid"], signal.SIGKILL)
        self.order(start=True)
        deadline = time.monotonic() + 10
        while self.live() and time.monotonic() < deadline:
            time.sleep(0.05)
        shutil.rmtree(self.root, ignore_errors=True)
