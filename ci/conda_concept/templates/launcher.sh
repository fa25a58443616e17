#!/bin/sh
# shellcheck shell=sh
# The launcher of {{ label }}: one file under every command name of the environment.
#
# It mounts the release's image on the release's own directory, for this command only, and runs there the very path
# that it was called by. See `launcher --help`, and ci/conda_concept/render/launcher.py for why it is as it is.
#
# Names start with _cc_, so that no variable of the user's environment is touched. Nothing is started on the way to
# `exec` but what a comment here admits.

_cc_label={{ label | sh }}
_cc_prefix={{ prefix | sh }}
_cc_image={{ image | sh }}
_cc_digest={{ digest | sh }}
_cc_probe={{ probe | sh }}
_cc_runtime={{ runtime | sh }}
_cc_singularity={{ singularity | sh }}
_cc_base={{ base | sh }}
_cc_mounting={{ mounting | sh }}
_cc_node={{ node_dir | sh }}
_cc_product={{ product | sh }}
_cc_idle={{ idle_seconds }}
_cc_tries={{ start_tries }}
_cc_squashfuse={{ squashfuse | sh }}
_cc_host={{ host_bin | sh }}
_cc_contact={{ contact | sh }}
_cc_enter={{ enter | sh }}

_cc_say() { printf '%s: %s\n' "$_cc_product" "$*" >&2; }
_cc_debug() { [ -z "${CONDA_CONCEPT_DEBUG:-}" ] || _cc_say "$*"; }
_cc_die() {
    _cc_say "$@"
    exit 125
}

# One word as a shell would need it, in _cc_quoted.
_cc_quote() {
    _cc_rest=$1 _cc_quoted=
    case $1 in
    '' | *[!A-Za-z0-9_./:=,@%+-]*) ;;
    *)
        _cc_quoted=$1
        return
        ;;
    esac
    while :; do
        case $_cc_rest in
        *\'*)
            _cc_quoted="$_cc_quoted${_cc_rest%%\'*}'\\''"
            _cc_rest=${_cc_rest#*\'}
            ;;
        *) break ;;
        esac
    done
    _cc_quoted="'$_cc_quoted$_cc_rest'"
}

# The last step: become the given command, or only say what it is.
_cc_exec() {
    if [ -n "$_cc_explain$_cc_trace" ]; then
        _cc_line=
        for _cc_word in "$@"; do
            _cc_quote "$_cc_word"
            _cc_line="$_cc_line $_cc_quoted"
        done
        if [ -n "$_cc_explain" ]; then
            printf '%s\n' "${_cc_line# }"
            exit 0
        fi
        _cc_debug "exec$_cc_line"
    fi
    exec "$@"
}

_cc_help() {
    cat <<EOF
The launcher of $_cc_label. Every command name in $_cc_prefix/bin is this file.

  $_cc_prefix/launcher --explain COMMAND [ARGUMENT…]   print what would be run
  $_cc_prefix/launcher --run PROGRAM [ARGUMENT…]       run any program with the environment mounted
  $_cc_prefix/launcher --report                        what a help desk asks for (reads the whole image)
  $_cc_prefix/launcher --help

  CONDA_CONCEPT_RUNTIME=namespace|singularity   another runtime than the site's ($_cc_runtime)
  CONDA_CONCEPT_DEBUG=1                         every decision, on standard error
  CONDA_CONCEPT_EXPLAIN=1                       like --explain, for a command called by its own name
EOF
}

# What a help desk asks for, on standard error. Reads the image, which takes a while; a place that cannot be read is
# what a transient failure looks like.
_cc_report() {
    PATH=$_cc_host:/usr/sbin:/sbin
    _cc_say "$_cc_label"
    printf '  %-8s%s\n' job "${PBS_JOBID:-${SLURM_JOB_ID:-none}}" node "$(uname -n)" user "$(id -un)" \
        time "$(date -u +%Y-%m-%dT%H:%M:%SZ)" image "$_cc_image" runtime "$_cc_runtime" >&2
    if _cc_found=$(timeout 120 sha256sum "$_cc_image" 2>/dev/null); then
        _cc_found=${_cc_found%% *}
        if [ "$_cc_found" = "$_cc_digest" ]; then
            printf '  %-8s%s\n' sha256 "$_cc_found, as it should be" >&2
        else
            printf '  %-8s%s\n' sha256 "$_cc_found, but it should be $_cc_digest" >&2
        fi
    else
        # dd says how far it came: the block of 1 MiB that cannot be read is the one after those.
        _cc_found=$(timeout 120 dd if="$_cc_image" of=/dev/null bs=1048576 2>&1) ||
            printf '  %-8s%s\n' sha256 "cannot be read, in blocks of 1 MiB: ${_cc_found}" >&2
    fi
    printf '  %-8s%s\n' report "send these lines to ${_cc_contact:-the operators} ($_cc_prefix/launcher --report)" >&2
}

# --- the image, mounted once for a user, node and job -----------------------------------------------------------

# The user's own folder, and not a link that somebody put there.
_cc_mine() {
    # shellcheck disable=SC3067  # not POSIX, but dash, bash, ksh and busybox have it
    [ -O "$_cc_own" ] && [ ! -L "$_cc_own" ]
}

# Is the shared mount there and alive? Opening a file asks the process behind the mount; looking at it does not.
_cc_alive() {
    _cc_mine && { true <"$_cc_mount/$_cc_probe"; } 2>/dev/null
}

# A place that only this user can write, named by user and job: a job's processes, the one behind the mount too, end
# with the job, and must not take the mount of another job along.
_cc_place() {
    _cc_uid=
    while read -r _cc_key _cc_value _cc_rest; do
        if [ "$_cc_key" = Uid: ]; then
            _cc_uid=$_cc_value
            break
        fi
    done </proc/self/status
    _cc_job=${PBS_JOBID:-${SLURM_JOB_ID:-}}
    case $_cc_job in
    *[!A-Za-z0-9._-]*) _cc_job=${_cc_job%%[!A-Za-z0-9._-]*} ;;
    esac
    _cc_own=$_cc_node/$_cc_product.$_cc_uid
    _cc_mount=$_cc_own/$_cc_digest${_cc_job:+.$_cc_job}
}

# Only where there is no mount yet (the first command of a user on a node, and after an idle time) does this start
# other programs. One lock a user: whoever comes second finds the mount made.
_cc_mount_shared() {
    _cc_debug "mounting $_cc_image on $_cc_mount"
    (
        umask 077
        PATH=$_cc_host:/usr/sbin:/sbin
        unset LD_LIBRARY_PATH LD_PRELOAD
        mkdir "$_cc_own" 2>/dev/null
        _cc_mine || exit 2
        exec 8>"$_cc_own/lock" || exit 2
        flock -w 60 8 || exit 3
        if _cc_alive; then exit 0; fi
        if mountpoint -q "$_cc_mount" || [ -d "$_cc_mount" ]; then fusermount3 -u -q -z "$_cc_mount"; fi
        rmdir "$_cc_own"/*/
        find "$_cc_own" -maxdepth 1 -name "start.*" -mmin +1440 -exec rm -f {} +
        mkdir "$_cc_mount"
        # A lock that lives as long as the process behind the mount: `conda-concept prune` on another node sees it,
        # where the file system carries locks; where it has none, there is none.
        exec 7<"$_cc_image"
        flock -s -w 2 7
        "$_cc_squashfuse" -o "timeout=$_cc_idle" "$_cc_image" "$_cc_mount" \
            </dev/null 3>&- 4>&- 5>&- 6>&- 8>&- 9>&-
        # Not the end of the list: a shell becomes its last command, and would let go of the lock before it has run.
        exit 0
    ) >/dev/null 2>&1
    _cc_alive
}

# The shared mount, or none (_cc_mount empty): then the command gets a mount of its own.
_cc_find_mount() {
    _cc_place
    if _cc_alive; then
        _cc_debug "using the mount $_cc_mount"
    elif [ -n "$_cc_explain" ]; then
        :
    elif ! _cc_mount_shared; then
        _cc_debug "no shared mount can be made here"
        _cc_mount=
    fi
}

# --- runtimes ---------------------------------------------------------------------------------------------------

# User and mount namespace from the host's own tools. bubblewrap would do the same, but it stays between the caller
# and the command and does not pass signals on; this becomes the command.
_cc_run_namespace() {
    for _cc_word in unshare mount setpriv; do
        [ -x "$_cc_host/$_cc_word" ] ||
            _cc_die "the runtime \"namespace\" needs $_cc_host/$_cc_word (util-linux 2.36 or newer)." \
                "Ask ${_cc_contact:-the operators}, or try CONDA_CONCEPT_RUNTIME=singularity."
    done
    [ -x "$_cc_squashfuse" ] ||
        _cc_die "the runtime \"namespace\" needs $_cc_squashfuse, which is not on this node." \
            "Ask ${_cc_contact:-the operators}, or try CONDA_CONCEPT_RUNTIME=singularity."
    _cc_find_mount
    _cc_exec "$_cc_host/unshare" --user --map-current-user --mount --propagation slave --keep-caps \
        /bin/sh -c "$_cc_enter" "$_cc_label" "$_cc_mount" "$_cc_image" "$_cc_prefix" "$_cc_probe" \
        "$_cc_squashfuse" "$_cc_host" "$_cc_tries" "$@"
}

_cc_run_singularity() {
    [ -x "$_cc_singularity" ] ||
        _cc_die "the runtime \"singularity\" needs $_cc_singularity, which is not on this node." \
            "Ask ${_cc_contact:-the operators}, or try CONDA_CONCEPT_RUNTIME=namespace."
    _cc_plan_tries
    # dash has a PS1 of its own in every script; that one is nobody's.
    _cc_prompt=${PS1+=$PS1}
    [ "$_cc_prompt" != '=$ ' ] || _cc_prompt=
    set -- "$_cc_base" /bin/sh /.$_cc_product "$_cc_label" "$_cc_prefix" "$_cc_probe" "$_cc_log" \
        "${PATH-}" "${LD_LIBRARY_PATH+=$LD_LIBRARY_PATH}" "$_cc_prompt" "${PROMPT_COMMAND+=$PROMPT_COMMAND}" \
        "${HOME-}" "$PWD" "$@"
    _cc_mount=
    [ "$_cc_mounting" != shared ] || _cc_find_mount
    if [ -n "$_cc_mount" ]; then
        set -- --bind "$_cc_mount:$_cc_prefix:ro" "$@"
    else
        set -- --bind "$_cc_image:$_cc_prefix:image-src=/" "$@"
    fi
    _cc_binds=/
{% for path in binds %}
    if [ -e {{ path | sh }} ]; then _cc_binds=$_cc_binds,{{ path | sh }}; fi
{% endfor %}
    # Where the command is called, and the home that the user says, wherever they are.
    for _cc_word in "$PWD" "${HOME-}"; do
        case $_cc_word in
        / | '' | *[:,]* | "$_cc_prefix" | "$_cc_prefix"/*) ;;
        /*) [ ! -d "$_cc_word" ] || _cc_binds=$_cc_binds,$_cc_word ;;
        esac
    done
    _cc_binds=${_cc_binds#/}
    _cc_binds=${_cc_binds#,}
    [ -z "$_cc_binds" ] || set -- --bind "$_cc_binds" "$@"
    [ ! -e /dev/nvidiactl ] || set -- --nv "$@"
    [ ! -e /dev/kfd ] || set -- --rocm "$@"
    # Singularity binds the working directory by itself, last; in the release directory that would hide the image.
    # inside.sh goes back there.
    case $PWD in
    "$_cc_prefix" | "$_cc_prefix"/*) cd / ;;
    esac
    set -- "$_cc_singularity" -s exec "$@"
    if [ -z "$_cc_log" ]; then _cc_exec "$@"; fi
    _cc_supervise "$@"
}

# --- trying again -----------------------------------------------------------------------------------------------

# Singularity fails after `exec`, so whoever wants to try again has to stay, and a shell that stays is not quite
# invisible: a command's death by a signal is seen as 128 + its number, and an interrupt of the whole process group
# reaches the command once more. So this is for starts that nobody watches; on a terminal the launcher becomes
# Singularity, and so it does where the site says one try.
#
# Singularity's standard error goes into a log. Before it becomes the command, inside.sh writes one line there, and
# only then gives the command the caller's standard error: a log without that line is of a command that never ran.
#
# The command waits for nothing of this: what has to be started is started beside Singularity, which takes longer.
_cc_plan_tries() {
    _cc_log=
    if [ "$_cc_tries" -le 1 ] || [ -n "$_cc_explain" ] || [ -t 0 ]; then return; fi
    _cc_place
    [ -d "$_cc_own" ] || "$_cc_host/mkdir" -m 700 "$_cc_own" 2>/dev/null
    _cc_mine || return
    _cc_log=$_cc_own/start.${_cc_job:+$_cc_job.}$$
    { true >"$_cc_log"; } 2>/dev/null || _cc_log=
}

_cc_pass() {
    _cc_caught=1
    kill -s "$1" "$_cc_child" 2>/dev/null
}

# A SIGKILL cannot be passed on, but it closes what is open: a shell that waits at the other end of a pipe of ours
# then ends the container. (Apptainer drops the parent-death signal that would do it for nothing.) That shell also
# holds the lock that `conda-concept prune` looks for, where no shared mount does, and takes the log's name away.
_cc_watch() {
    # A short here-document comes through a pipe; opened once more by its number, that can be written to. In an old
    # bash it is a file in TMPDIR, and a full disk would end the script here.
    case ${BASH_VERSION-} in
    [1-4].* | 5.0*) ;;
    *)
        exec 7<<_cc_end
_cc_end
        ;;
    esac
    if [ -p /proc/self/fd/7 ]; then
        exec 9>/proc/self/fd/7
    else
        if [ ! -p "$_cc_log.pipe" ]; then "$_cc_host/mkfifo" -m 600 "$_cc_log.pipe" || return; fi
        # For reading too: else it would wait here for the other end.
        exec 9<>"$_cc_log.pipe"
        exec 7<"$_cc_log.pipe"
        exec 9>"$_cc_log.pipe"
    fi
    (
        trap '' HUP INT QUIT TERM USR1 USR2
        exec 8<&- 9>&-
        "$_cc_host/rm" -f "$_cc_log" "$_cc_log.pipe"
        if [ -z "$_cc_mount" ] && { true <"$_cc_image"; }; then
            exec 8<"$_cc_image"
            "$_cc_host/flock" -s -w 2 8
        fi
        read -r _cc_word <&7 || kill -s KILL "$_cc_child"
    ) >/dev/null 2>&1 </dev/null &
    exec 7<&-
}

# Wait for $_cc_child to end, in spite of signals, which are passed on; its status is in $_cc_status.
_cc_wait() {
    _cc_status=0
    while :; do
        _cc_caught=
        wait "$_cc_child"
        _cc_ended=$?
        # 127: it had ended already when the signal came.
        [ "$_cc_ended" -eq 127 ] && [ "$_cc_status" -ne 0 ] || _cc_status=$_cc_ended
        [ -n "$_cc_caught" ] || break
    done
}

# One start. _cc_started says whether the command ran, and _cc_said is what Singularity had to say.
_cc_start() {
    # What is started with & has /dev/null for standard input, unless it gets it by another number.
    exec 7>"$_cc_log" 8<&0 9>&2
    "$@" <&8 2>&7 7>&- 8<&- &
    _cc_child=$!
    exec 7>&- 8<"$_cc_log" 9>&-
    _cc_watch
    _cc_wait
    # The watcher leaves at a word.
    { printf 'done\n' >&9; } 2>/dev/null
    exec 9>&-
    _cc_started='' _cc_said=''
    while IFS= read -r _cc_word || [ -n "$_cc_word" ]; do
        if [ "$_cc_word" = "$_cc_label started" ]; then
            _cc_started=1
            break
        fi
        _cc_said="$_cc_said$_cc_word
"
    done <&8
    exec 8<&-
}

_cc_supervise() {
    for _cc_word in HUP INT QUIT TERM USR1 USR2; do
        # shellcheck disable=SC2064  # the name is to be taken now
        trap "_cc_pass $_cc_word" "$_cc_word"
    done
    _cc_try=1
    while :; do
        _cc_debug "start $_cc_try of $_cc_tries, log $_cc_log: $*"
        _cc_start "$@"
        if [ "$_cc_status" -eq 0 ] || [ -n "$_cc_started" ]; then break; fi
        if [ "$_cc_try" -ge "$_cc_tries" ]; then
            printf '%s' "$_cc_said" >&2
            _cc_say "the container could not be started, $_cc_try times; the command has not run"
            _cc_report
            break
        fi
        _cc_debug "the container did not start (status $_cc_status); trying again"
        "$_cc_host/sleep" "$_cc_try"
        _cc_try=$((_cc_try + 1))
    done
    exit "$_cc_status"
}

# --- what is to be run ------------------------------------------------------------------------------------------

_cc_explain=${CONDA_CONCEPT_EXPLAIN:-} _cc_trace=${CONDA_CONCEPT_DEBUG:-} _cc_log=
_cc_self=$0
case $_cc_self in
/*) ;;
*) _cc_self=$PWD/$_cc_self ;;
esac
_cc_name=${_cc_self##*/}
_cc_folder=${_cc_self%/*}

if [ "$_cc_name" = launcher ]; then
    case ${1-} in
    --explain)
        _cc_explain=1
        shift
        _cc_command=$_cc_prefix/bin/${1:?"--explain needs a command"}
        shift
        ;;
    --report)
        _cc_report
        exit "${2:-0}"
        ;;
    --run)
        shift
        _cc_command=${1:?"--run needs a program"}
        shift
        ;;
    *)
        _cc_help
        exit 0
        ;;
    esac
elif [ -e "$_cc_folder/../pyvenv.cfg" ] || [ -e "$_cc_folder/pyvenv.cfg" ]; then
    # A virtual environment's link: Python finds the environment by the path that it was called by.
    _cc_command=$_cc_self
elif [ -e "$_cc_prefix/bin/$_cc_name" ]; then
    # Through an alias or a link of the same name: the release that was found now, not what the link means later.
    _cc_command=$_cc_prefix/bin/$_cc_name
else
    _cc_command=$_cc_self
fi
_cc_debug "called as $0, running $_cc_command of $_cc_label"
{% for name in unset %}
unset {{ name }}
{% endfor %}

# A release is finished by its record. An image that was written to after that is not what was tested.
if [ -e "$_cc_prefix/release.json" ] && [ "$_cc_image" -nt "$_cc_prefix/release.json" ]; then
    _cc_die "$_cc_image was changed after it was released, so it is not started." \
        "Tell ${_cc_contact:-the operators}; 'conda-concept verify $_cc_label' says what is wrong."
fi

_cc_runtime=${CONDA_CONCEPT_RUNTIME:-$_cc_runtime}
# In a container of ours already: the command of another environment. No container can be started in there by every
# Singularity, but a mount can.
if [ -e /.{{ product }} ]; then
    _cc_debug "inside a container of another environment: its image is mounted there"
    _cc_runtime=namespace
fi
case $_cc_runtime in
namespace) _cc_run_namespace "$_cc_command" "$@" ;;
singularity | apptainer) _cc_run_singularity "$_cc_command" "$@" ;;
*) _cc_die "CONDA_CONCEPT_RUNTIME is \"$_cc_runtime\"; it can be \"namespace\" or \"singularity\"." ;;
esac
