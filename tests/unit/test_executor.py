"""What is said to schedulers, and what their answers mean: as values, against answers as they were recorded."""

import json
from pathlib import Path

import pytest

from conda_concept.document import SourceText
from conda_concept.errors import BuildError, ConcError, InputError, SchedulerError
from conda_concept.executor import request, verdict
from conda_concept.executor.answers import ending, read_jobs, read_left, read_view, told
from conda_concept.executor.cpus import cpus
from conda_concept.executor.follow import quoted
from conda_concept.executor.task import Attempt, Ended, Exited, Facts, Gone, Left, Silent, Task
from conda_concept.run import Finished
from conda_concept.settings import LocalExecutor, PbsExecutor, Resources
from conda_concept.site import names_in, read_site

#: PBS Pro's own layout, with the two ways in which it is not JSON: a number with leading zeros, a raw tab.
PBS_JSON = """\
{
    "timestamp":1745411711,
    "pbs_version":"2022.1.1.20220926110806",
    "pbs_server":"gadi-pbs",
    "Jobs":{
        "123456.gadi-pbs":{
            "Job_Name":"cc-0123456789ab",
            "Job_Owner":"abc123@gadi-login-01.gadi.nci.org.au",
            "resources_used":{
                "cpupercent":98,
                "mem":"1024kb",
                "walltime":"00:10:00"
            },
            "job_state":"F",
            "queue":"normal-exec",
            "exec_host":"gadi-cpu-clx-0001/0*4+gadi-cpu-clx-0002/0*4",
            "Exit_status":-29,
            "comment":"Job run at Tue Nov 24 at 03:16 on (gadi-cpu-clx-0001)\tand exceeded resource walltime",
            "Variable_List":{
                "PBS_O_PATH":"/usr/bin",
                "FOO":005
            }
        }
    }
}
"""
PBS_TEXT = """\
Job Id: 123456.gadi-pbs
    Job_Name = cc-0123456789ab
    job_state = H
    queue = normal-exec
    comment = Not Running: Insufficient amount of resource: ncpus (R: 4 A: 0 T:
\t48)
    Variable_List = PBS_O_HOME=/home/abc123,PBS_O_LANG=en_AU.UTF-8,
\tPBS_O_PATH=/usr/bin

"""
#: Slurm 22.05's qstat -f.
SLURM_TEXT = """\
Job Id:\t2
\tJob_Name = cc-abd
\tJob_Owner = someone@localhost
\tjob_state = C
\tqueue = normal
\tqtime = Tue Nov 24 03:16:15 2026
\tmtime = Tue Nov 24 03:16:16 2026
\tctime = Tue Nov 24 03:17:38 2026
\texec_host = node/1
\tPriority = 4294901758
\tResource_List.walltime = 00:01:00
\tResource_List.ncpus = 1

Job Id:\t3
\tJob_Name = cc-abe
\tjob_state = Q

"""
SLURM_TIME = "slurmstepd-node: error: *** JOB 2 ON node CANCELLED AT 2026-11-24T03:17:38 DUE TO TIME LIMIT ***"
SLURM_CANCEL = "slurmstepd-node: error: *** JOB 2 ON node CANCELLED AT 2026-11-24T03:17:38 ***"
#: What NCI's own watchdog writes, and the summary that follows in every job's output there.
NCI_MEMORY = """\
-------------------------------------------------------------------------------
Job 154132534 has exceeded memory allocation on node gadi-cpu-clx-2232.gadi.nci.org.au
Process "mksquashfs", pid 2000352, rss 3682304, vmem 22536192
-------------------------------------------------------------------------------
"""
NCI_SUMMARY = """======================================================================================
                  Resource Usage on 2026-11-24 14:05:37:
   Job Id:             154132534.gadi-pbs
   Project:            hh5
   Exit Status:        {status}
   NCPUs Requested:    16                     NCPUs Used: 16
   Memory Requested:   64.0GB                Memory Used: 64.0GB
   Walltime requested: 03:00:00            Walltime Used: 00:01:01
   JobFS requested:    100.0GB                JobFS used: 10.0GB
======================================================================================
"""
ASKED = Resources(queue="copyq", cpus=1, memory="4GB", walltime="02:00:00", jobfs="50GB")
TASK = Task("build-x-1", "build x/1", ("python3", "it's", "{folder}/order.json"), ASKED)


def pbs(**settings: object) -> PbsExecutor:
    return PbsExecutor.model_validate({"kind": "pbs", "build": ASKED, **settings})


def finished(code: int, out: str = "", err: str = "") -> Finished:
    return Finished(("qstat",), code, out, err)


def test_what_pbs_pro_is_asked() -> None:
    gadi = pbs(
        project="hh5",
        storage=["gdata/hh5", "scratch/hh5"],
        resources={"software": "x"},
        options=["-W", "umask=0027", "-v", "A=b"],
    )
    assert request.submit(gadi, Attempt("cc-0123456789ab"), ASKED, Path("/g/a b")) == [
        *("/opt/pbs/default/bin/qsub", "-N", "cc-0123456789ab", "-q", "copyq", "-P", "hh5", "-S", "/bin/sh"),
        *("-r", "n", "-j", "oe", "-l", "ncpus=1", "-l", "mem=4GB", "-l", "walltime=02:00:00", "-l", "jobfs=50GB"),
        *("-l", "storage=gdata/hh5+scratch/hh5", "-l", "software=x", "-o", "/g/a b/scheduler"),
        *("-W", "umask=0027", "-v", "A=b", "/g/a b/script"),
    ]
    assert request.status(gadi, "1.gadi-pbs")[1:] == ["-x", "-f", "-F", "json", "1.gadi-pbs"]
    assert request.status(gadi, "1.gadi-pbs", history=False)[1:] == ["-f", "-F", "json", "1.gadi-pbs"]
    assert request.named(gadi, "cc-1") == ["/opt/pbs/default/bin/qselect", "-N", "cc-1"]
    assert request.delete(gadi, "1.gadi-pbs") == ["/opt/pbs/default/bin/qdel", "1.gadi-pbs"]


def test_what_slurms_qsub_is_asked() -> None:
    slurm = pbs(dialect="slurm", bin="/usr/bin", project="physics")
    assert request.submit(slurm, Attempt("cc-0123456789ab"), ASKED, Path("/j")) == [
        *("/usr/bin/qsub", "-N", "cc-0123456789ab", "-q", "copyq", "-A", "physics", "-r", "n", "-j", "oe"),
        *("-l", "nodes=1:ppn=1,mem=4GB,walltime=02:00:00,file=50GB", "-o", "/j/scheduler", "/j/script"),
    ]
    assert request.named(slurm, "cc-1") == ["/usr/bin/qstat", "-f"]
    for folder in ("/a b", "/$(id)", "/x;y", "/100%"):
        with pytest.raises(InputError, match="hands its words to a shell"):
            request.submit(slurm, Attempt("cc-1"), ASKED, Path(folder))


def test_the_script_of_a_job_quotes_everything_and_says_all_variables() -> None:
    text = request.script(TASK, Path("/j/it's"), {"PATH": "/bin", "A": "$(id) '"}, ("SITE_DISK", "TMPDIR"), 0o027)
    assert "\nfolder='/j/it'\"'\"'s'\numask 0027\n" in text
    assert "env -i 'A=$(id) '\"'\"'' PATH=/bin \"TMPDIR=${PBS_JOBFS:-${TMPDIR:-/tmp}}\" \\\n" in text
    assert '    ${SITE_DISK+"SITE_DISK=$SITE_DISK"} \\\n' in text
    assert "${TMPDIR+" not in text
    assert "python3 'it'\"'\"'s' '/j/it'\"'\"'s/order.json' >\"$folder/out\" 2>\"$folder/log\" </dev/null\n" in text


def test_pbs_pros_answers() -> None:
    (facts,) = read_jobs(PBS_JSON)
    assert facts.number == "123456.gadi-pbs"
    assert (facts.state, facts.over, facts.exit_status, facts.host) == ("F", True, -29, "gadi-cpu-clx-0001")
    assert facts.comment.endswith("(gadi-cpu-clx-0001) and exceeded resource walltime")
    (facts,) = read_jobs(PBS_TEXT)
    assert facts == Facts(
        *("123456.gadi-pbs", "cc-0123456789ab", "H"),
        "Not Running: Insufficient amount of resource: ncpus (R: 4 A: 0 T:48)",
    )
    assert told("1", facts) == f"job 1 is held: {facts.comment}"


def test_slurms_answers() -> None:
    first, second = read_jobs(SLURM_TEXT)
    assert (first.name, first.over, first.exit_status, first.host) == ("cc-abd", True, None, "node")
    assert (second.number, second.name, second.over) == ("3", "cc-abe", False)
    assert told("3", second) == "job 3 waits in its queue"


@pytest.mark.parametrize(
    ("done", "view"),
    [
        (finished(153, err="qstat: Unknown Job Id 1.gadi-pbs"), Gone()),
        (finished(153), Gone()),  # Slurm says nothing
        (
            finished(35, err="qstat: 1.gadi-pbs Job has finished, use -x or -H to obtain historical job information"),
            Gone(),
        ),
        (finished(0, out=SLURM_TEXT), Gone()),  # others' jobs
        (
            finished(111, err="Connection refused\nqstat: cannot connect"),
            Silent("Connection refused qstat: cannot connect"),
        ),
        (finished(255, err="Problem loading jobs.\n"), Silent("Problem loading jobs.")),
        (finished(2), Silent("qstat ended with 2")),
    ],
)
def test_what_qstats_exit_codes_mean(done: Finished, view: object) -> None:
    assert read_view(done, "1.gadi-pbs") == view


def test_an_answer_that_is_neither_json_nor_text_is_no_answer() -> None:
    for text in ('{"Jobs": {', "something else\n"):
        assert isinstance(read_view(finished(0, out=text), "1"), Silent)
    assert isinstance(read_view(finished(0, out=PBS_JSON), "123456"), Facts)


def facts(state: str = "F", status: int | None = None, comment: str = "") -> Facts:
    return Facts("1", "cc", state, comment, status)


@pytest.mark.parametrize(
    ("left", "seen", "said", "end"),
    [
        (Left(0), None, "", Exited(0)),
        (Left(9), facts(status=9), "", Exited(9)),
        (Left(9, oom=True), facts(status=9), "", "memory"),
        (Left(130, stopped=True), facts(status=130), "", "deleted"),
        (Left(130, stopped=True), facts(status=-29), "", "walltime"),
        (Left(9), facts("C"), SLURM_TIME, "walltime"),
        (None, facts("C"), SLURM_TIME, "walltime"),
        (None, facts("C"), SLURM_CANCEL, "deleted"),
        (None, facts("C"), "slurmstepd: error: *** JOB 2 ON node CANCELLED AT x DUE TO NODE FAILURE ***", "node"),
        (None, facts("C"), "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=2.batch.", "memory"),
        (None, None, "slurmstepd: error: Exceeded job memory limit at some point.", "memory"),
        (None, facts(status=-27), "=>> PBS: job killed: mem 9437184kb exceeded limit 8388608kb", "memory"),
        (None, facts(status=271), NCI_MEMORY + NCI_SUMMARY, "memory"),
        (Left(9), facts(status=9), NCI_MEMORY + NCI_SUMMARY, "memory"),  # it ended a tool, and the step said so
        (Left(130, stopped=True), facts(status=271), NCI_MEMORY, "memory"),
        (Left(9), facts(status=9), NCI_SUMMARY, Exited(9)),
        (None, facts(status=271), NCI_SUMMARY, "deleted"),
        (None, facts(status=-24), "", "cpus"),
        (None, facts(status=-7), "", "refused to start"),
        (None, facts(status=-20), "", "node"),
        (None, facts(status=-99), "", "lost"),
        (None, facts(status=271), "", "deleted"),
        (None, facts(status=265, comment="job killed: walltime 61 exceeded limit 60"), "", "walltime"),
        (None, facts(status=1), "/bin/sh: cannot write: Disk quota exceeded", "disk"),
        (None, facts(status=0), "", "lost"),
        (None, None, "", "lost"),
    ],
)
def test_why_a_job_ended(left: Left | None, seen: Facts | None, said: str, end: object) -> None:
    found = ending(left, seen, said)
    assert (found.reason if isinstance(found, Ended) else found) == end


def test_a_result_that_is_not_whole_is_none() -> None:
    assert read_left("9 no yes\n") == Left(9, stopped=False, oom=True)
    for text in ("", "9", "9 no no", "x no no\n", "9 no no\n1"):
        assert read_left(text) is None


def test_a_failing_step_reads_as_it_would_have_in_place() -> None:
    out = json.dumps({"error": {"kind": "build", "message": "it broke", "hint": "mend it", "exit_code": 9}})
    error = verdict.failed(TASK, "1", 9, out, "/j")
    assert type(error) is BuildError
    assert str(error) == "it broke\nmend it"
    # What a job says of itself does not choose another code than the one that it ended with.
    assert isinstance(verdict.failed(TASK, "1", 2, out, "/j"), SchedulerError)
    assert type(verdict.failed(TASK, "1", 1, "Traceback", "/j")) is ConcError
    killed = verdict.failed(TASK, "1", 137, "", "/j")
    assert "signal 9, most often for want of memory" in killed.message


def test_every_end_has_its_words_and_is_ours() -> None:
    for reason in verdict._ADVICE:
        error = verdict.ended(TASK, "1.gadi-pbs", Ended(reason, "so it says"), "/j")
        assert error.exit_code == 15
        assert error.message.startswith("job 1.gadi-pbs (build x/1) ")
        assert error.message.endswith("(so it says). Nothing is wrong with what was asked for.")
        assert error.hint.endswith("Its files: /j")


def test_a_line_of_a_job_is_no_command_to_anybody() -> None:
    assert quoted("::add-mask::x") == "│ ::add-mask::x"  # the runner wants its marks at the beginning
    assert quoted("a ##[error]b\x1b[31m\u202e\r") == "│ a ## [error]b�[31m�"


def test_cpus_are_those_that_the_job_was_given() -> None:
    assert cpus({}, bound=48) == 48
    assert cpus({"PBS_JOBID": "1", "PBS_NCPUS": "4"}, bound=48) == 4
    assert cpus({"PBS_JOBID": "1", "NCPUS": "4"}, bound=2) == 2
    assert cpus({"SLURM_JOB_ID": "1", "SLURM_CPUS_ON_NODE": "3"}, bound=48) == 3
    assert cpus({"NCPUS": "1", "SLURM_CPUS_ON_NODE": "x"}, bound=48) == 48
    assert cpus({"PBS_JOBID": "1", "PBS_NCPUS": "0"}, bound=48) == 1


SITE = "name: x\nroot: /r\nscratch: ${PBS_JOBFS:-/tmp}\ncache: ${BIG}/c\n"


def executor(text: str) -> object:
    return read_site(SourceText("ci/sites/x.yml", SITE + text), {"BIG": "/b"}).executor


def test_a_site_names_its_executor() -> None:
    assert executor("") == executor("executor: {kind: local}\n") == LocalExecutor()
    minimal = 'executor:\n  kind: pbs\n  build: {cpus: 4, memory: 8GB, walltime: "01:00:00"}\n'
    found = executor(minimal)
    assert isinstance(found, PbsExecutor)
    assert (found.dialect, found.download, found.build.cpus) == ("pbspro", "here", 4)
    assert names_in(SourceText("x.yml", SITE)) == (frozenset({"BIG"}), frozenset({"PBS_JOBFS"}))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("executor: {kind: pds}\n", "x.yml:5: `executor.kind` has to say which: 'local', 'pbs'"),
        ("executor: {queue: x}\n", "x.yml:5: `executor.kind` has to say which"),
        ("executor:\n  kind: pbs\n  biuld: 1\n", "x.yml:7: unknown key `executor.biuld`; did you mean `build`?"),
        ("executor:\n  kind: local\n  queue: x\n", "x.yml:7: unknown key `executor.queue`; known here: kind"),
        ("executor:\n  kind: pbs\n  build:\n    cpus: 0\n", "x.yml:8: `executor.build.cpus`: input should be greater"),
        (
            "executor:\n  kind: pbs\n  build:\n    walltime: 10:00:00\n",
            "x.yml:8: `executor.build.walltime` is the bare",
        ),
        ("executor:\n  kind: pbs\n  build:\n    memory: 4G\n", "x.yml:8: `executor.build.memory` is '4G', which does"),
        ("executor:\n  kind: pbs\n  storage: ['a b']\n", "x.yml:7: `executor.storage.0` is 'a b', which does not"),
        ("executor:\n  kind: pbs\n  options: [';id']\n", "x.yml:7: `executor.options.0"),
        (
            'executor:\n  kind: pbs\n  download: queue\n  build: {cpus: 1, memory: 1GB, walltime: "0:01:00"}\n',
            "x.yml:5: `executor`: `download: queue` wants `download_job`",
        ),
        (
            'executor: {kind: pbs, dialect: slurm, storage: [a], build: {cpus: 1, memory: 1GB, walltime: "0:01:00"}}\n',
            "`executor`: Slurm's qsub knows no `storage`",
        ),
    ],
)
def test_a_wrong_executor_is_told_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        executor(text)
    assert problem in caught.value.message
