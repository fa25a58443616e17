#!/bin/sh
# Written by conda-concept, which waits for this job and follows its files in this folder.
folder={{ folder | sh }}
umask {{ umask }}
cd / || exit 1

# A job begins at most once. Whoever gives a job up takes the file `go` away first, so a job that nobody waits for
# any more, or that was submitted twice, does nothing.
if ! mv "$folder/go" "$folder/begun" 2>/dev/null; then
    echo 'conda-concept no longer wants this job: nothing was done'
    exit 0
fi
printf '%s\n' "${PBS_JOBID:-${SLURM_JOB_ID:-}}" >"$folder/number.part"
mv "$folder/number.part" "$folder/number"
uname -n >"$folder/host"

# How often the kernel ended something in this job for want of memory, in either kind of control group.
ended_for_memory() {
    v2=$(sed -n 's/^0:://p' /proc/self/cgroup)
    v1=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
    cat "/sys/fs/cgroup$v2/memory.events" "/sys/fs/cgroup/memory$v1/memory.oom_control" 2>/dev/null |
        sed -n 's/^oom_kill //p' | sort -n | tail -n 1
}
before=$(ended_for_memory)

# Told to end, the command cleans up; this shell waits for that, and says so.
stopped=no
trap 'stopped=yes' TERM INT HUP XCPU
env -i {% for word in assignments %}{{ word | sh }} {% endfor %}"TMPDIR=${PBS_JOBFS:-${TMPDIR:-/tmp}}" \
{% for word in passed %}
    {{ word }} \
{% endfor %}
   {% for word in argv %} {{ word | sh }}{% endfor %} >"$folder/out" 2>"$folder/log" </dev/null
code=$?

oom=no
[ "$(ended_for_memory)" = "$before" ] || oom=yes
printf '%s %s %s\n' "$code" "$stopped" "$oom" >"$folder/exit.part"
mv "$folder/exit.part" "$folder/exit"
exit "$code"
