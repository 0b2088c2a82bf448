"""A real Slurm on this machine: two nodes, two GPUs each (devices that do nothing), all state in one folder."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue")
# Debian puts daemons where a user's PATH does not look.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

CONF = """\
ClusterName=tops
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={root}/run/munge.sock
SlurmUser=root
SlurmdUser=root
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool.%n
SlurmctldPidFile={root}/run/slurmctld.pid
SlurmdPidFile={root}/run/slurmd.%n.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
MinJobAge=3600
SchedulerParameters=sched_interval=1,batch_sched_delay=0
InactiveLimit=0
{nodes}
PartitionName=main Nodes={names} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=0
PartitionName=urgent Nodes={names} Default=NO MaxTime=INFINITE State=UP PriorityTier=10
"""

# Without an accounting database `sacct` knows nothing, and submitit could not see that a job was killed.
SACCT = """\
#!/usr/bin/env python3
import re, subprocess, sys
print("JobID|State|NodeList")
for i, word in enumerate(sys.argv):
    if word == "-j":
        out = subprocess.run(["scontrol", "-o", "show", "job", sys.argv[i + 1]], capture_output=True, text=True).stdout
        for line in out.splitlines():
            job = dict(re.findall(r"(\\w+)=(\\S*)", line))
            name = job["JobId"]
            if "ArrayTaskId" in job:
                task = job["ArrayTaskId"]
                name = job["ArrayJobId"] + "_" + (task if task.isdigit() else f"[{task}]")
            print(f"{name}|{job['JobState']}|{job.get('NodeList', '')}")
"""


def unavailable() -> str | None:
    """Why no cluster can be brought up here; None when it can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (apt-get install slurm-wlm munge)"
    if os.geteuid() != 0:
        return "starting Slurm's daemons needs root"
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.mknod(f"{folder}/gpu", 0o600 | 0o020000, os.makedev(1, 3))
        except OSError as error:
            return f"no device can be made here: {error}"
    return None


@contextmanager
def cluster():
    """Bring it up, give its environment, and stop exactly what was started."""
    root = Path(tempfile.mkdtemp(prefix="slurm-"))
    for name in ("run", "log", "state", "etc", "bin", "dev", "spool.n1", "spool.n2"):
        (root / name).mkdir(mode=0o700 if name in ("run", "state") else 0o755)
    root.chmod(0o755)
    environment = {**os.environ, "SLURM_CONF": f"{root}/etc/slurm.conf", "PATH": f"{root}/bin{os.pathsep}{PATH}"}
    _configure(root)
    commands = [
        [
            "munged", "--force", f"--socket={root}/run/munge.sock", f"--key-file={root}/run/munge.key",
            f"--pid-file={root}/run/munged.pid", f"--log-file={root}/log/munged.log",
            f"--seed-file={root}/run/munged.seed",
        ],
        ["slurmctld", "-c"],
        ["slurmd", "-N", "n1"],
        ["slurmd", "-N", "n2"],
    ]  # fmt: skip
    try:
        for command in commands:
            subprocess.run(command, env=environment, check=True, capture_output=True, timeout=30)
        _wait(environment)
        yield environment
    finally:
        for name in ("slurmd.n1", "slurmd.n2", "slurmctld", "munged"):
            _stop(root / "run" / f"{name}.pid")
        shutil.rmtree(root, ignore_errors=True)


def _configure(root: Path) -> None:
    host = socket.gethostname().split(".")[0]
    key = root / "run" / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    ports = _free_ports(3)
    nodes = "\n".join(
        f"NodeName={n} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=4000 Gres=gpu:2"
        for n, port in zip(("n1", "n2"), ports[1:], strict=True)
    )
    text = CONF.format(host=host, port=ports[0], root=root, nodes=nodes, names="n1,n2")
    (root / "etc" / "slurm.conf").write_text(text)
    gres = ["AutoDetect=off"]
    for node in ("n1", "n2"):
        for i in range(2):
            os.mknod(root / "dev" / f"{node}gpu{i}", 0o666 | 0o020000, os.makedev(1, 3))
        gres.append(f"NodeName={node} Name=gpu File={root}/dev/{node}gpu[0-1]")
    (root / "etc" / "gres.conf").write_text("\n".join(gres) + "\n")
    (root / "bin" / "sacct").write_text(SACCT)
    (root / "bin" / "sacct").chmod(0o755)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def _wait(environment: dict[str, str]) -> None:
    """Until both nodes take jobs."""
    for _ in range(100):
        out = subprocess.run(
            ["sinfo", "-h", "-N", "-o", "%N %t"], env=environment, capture_output=True, text=True, check=False
        ).stdout
        if len({line.split()[0] for line in out.splitlines() if line.endswith("idle")}) == 2:
            return
        time.sleep(0.1)
    raise RuntimeError(f"the nodes do not come up: {out}")


def _stop(pid_file: Path) -> None:
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text())
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        for _ in range(50):
            if not Path(f"/proc/{pid}").exists():
                return
            time.sleep(0.1)
