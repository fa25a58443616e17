"""How many CPUs this process may use: what it was given, and not what the machine has."""

import os
from collections.abc import Mapping

#: What schedulers say inside a job, where they do not bind its processes to CPUs. Read only where there is a job.
_SAID = (("PBS_JOBID", "PBS_NCPUS"), ("PBS_JOBID", "NCPUS"), ("SLURM_JOB_ID", "SLURM_CPUS_ON_NODE"))


def cpus(environ: Mapping[str, str], bound: int | None = None) -> int:
    """The CPUs that the kernel lets us use (`bound`), or fewer if the job that we are in was given fewer."""
    found = [bound if bound is not None else len(os.sched_getaffinity(0))]
    for job, name in _SAID:
        if environ.get(job) and environ.get(name, "").isdecimal():
            found.append(int(environ[name]))
    return max(1, min(found))
