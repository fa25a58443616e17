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
_cc_visible={{ binds | join(",") | sh }}
_cc_mounting={{ mounting | sh }}
_cc_node={{ node_dir | sh }}
_cc_product={{ product | sh }}
_cc_idle={{ idle_seconds }}
_cc_tries={{ start_tries }}
_cc_squashfuse={{ squashfuse | sh }}
_cc_host={{ host_bin | sh }}
_cc_contact={{ contact | sh }}
_cc_enter={{ enter | sh }}
_cc_serve={{ serve | sh }}
_cc_watch={{ watch | sh }}

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
# what a transient failure looks like. With an argument, only if no other process of this user is reading it here: all
# ranks of a node give up at once.
_cc_report() {
    PATH=$_cc_host:/usr/sbin:/sbin
    _cc_say "$_cc_label"
    printf '  %-8s%s\n' job "${PBS_JOBID:-${SLURM_JOB_ID:-none}}" node "$(uname -n)" user "$(id -un)" \
        time "$(date -u +%Y-%m-%dT%H:%M:%SZ)" image "$_cc_image" runtime "$_cc_runtime" >&2
    if [ -n "${1-}" ] && _cc_mine && { true >"$_cc_own/report"; } 2>/dev/null &&
        exec 9>"$_cc_own/report" && ! flock -n 9; then
        printf '  %-8s%s\n' sha256 "another process of this user is reading the image on this node, and reports it" >&2
    else
        _cc_digest_found
    fi
    printf '  %-8s%s\n' report "send these lines to ${_cc_contact:-the operators} ($_cc_prefix/launcher --report)" >&2
}

# One read of the image says it all. dd tells how far it came (interrupted, too): the block of 1 MiB that cannot be
# read is the one after those. What it says comes before the digest, since sha256sum waits for its end.
_cc_digest_found() {
    _cc_found=$({
        { LC_ALL=C timeout -s INT -k 5 120 dd if="$_cc_image" bs=1048576 2>&3 || echo "status $?" >&3; } | sha256sum
    } 3>&1)
    _cc_blocks=${_cc_found%%+* records in*}
    _cc_blocks=${_cc_blocks##*[!0-9]}
    _cc_why=${_cc_found%%"
"*}
    case $_cc_found in
    *"status 124"* | *"status 137"*)
        _cc_found="not read to its end in 120 s, in blocks of 1 MiB: ${_cc_blocks:-unknown}"
        ;;
    *"status "*)
        _cc_found="cannot be read, in blocks of 1 MiB: ${_cc_blocks:+$_cc_blocks (}${_cc_why##*: }${_cc_blocks:+)}"
        ;;
    *"$_cc_digest  -") _cc_found="$_cc_digest, as it should be" ;;
    *)
        _cc_found=${_cc_found##*"
"}
        _cc_found="${_cc_found%% *}, but it should be $_cc_digest"
        ;;
    esac
    printf '  %-8s%s\n' sha256 "$_cc_found" >&2
}

# --- the image, mounted once for a user, node and job -----------------------------------------------------------

# The user's own folder, and not a link that somebody put there.
_cc_mine() {
    # shellcheck disable=SC3067  # not POSIX, but dash, bash, ksh and busybox have it
    [ -O "$_cc_own" ] && [ ! -L "$_cc_own" ]
}

# Is the shared mount there and alive? Opening a file asks the process behind the mount; looking at it does not.
_cc_alive() {
    _cc_mine && { true <"$_cc_shared/$_cc_probe"; } 2>/dev/null
}

# What the kernel says of this process, in _cc_value. Read letter by letter, so what stands far down takes its time.
_cc_own_status() {
    while read -r _cc_key _cc_value _cc_rest; do
        [ "$_cc_key" != "$1" ] || return 0
    done </proc/self/status
}

# A place that only this user can write, named by user and job: a job's processes, the one behind the mount too, end
# with the job, and must not take the mount of another job along.
_cc_place() {
    _cc_own_status Uid:
    _cc_own=$_cc_node/$_cc_product.$_cc_value
    _cc_job=${PBS_JOBID:-${SLURM_JOB_ID:-}}
    # An array's 13[1] and 13[2] are two jobs.
    while :; do
        case $_cc_job in
        *[!A-Za-z0-9._-]*) _cc_job=${_cc_job%%[!A-Za-z0-9._-]*}_${_cc_job#*[!A-Za-z0-9._-]} ;;
        *) break ;;
        esac
    done
    _cc_shared=$_cc_own/$_cc_digest${_cc_job:+.$_cc_job}
}

# Only where there is no mount yet (the first command of a user on a node, and after an idle time) does this start
# other programs. One lock a user: whoever comes second finds the mount made. _cc_why is what they had to say.
_cc_mount_shared() {
    _cc_debug "mounting $_cc_image on $_cc_mount"
    _cc_why=$(
        exec 2>&1
        umask 077
        PATH=$_cc_host:/usr/sbin:/sbin
        unset LD_LIBRARY_PATH LD_PRELOAD
        mkdir "$_cc_own" 2>/dev/null
        _cc_mine || { echo "$_cc_own cannot be made, or is not this user's" && exit; }
        exec 8>"$_cc_own/lock" || exit
        flock -w 60 8 || { echo "$_cc_own/lock is held by another process" && exit; }
        if _cc_alive; then exit; fi
        {
            if mountpoint -q "$_cc_mount" || [ -d "$_cc_mount" ]; then fusermount3 -u -q -z "$_cc_mount"; fi
            rmdir "$_cc_own"/*/
            find "$_cc_own" -maxdepth 1 -name "start.*" -mmin +1440 -exec rm -f {} +
        } >/dev/null 2>&1
        mkdir "$_cc_mount"
        bash -p -c "$_cc_serve" serve "$_cc_squashfuse" "$_cc_image" "$_cc_mount" "$_cc_idle" "$_cc_host"
        # Not the end of the list: a shell becomes its last command, and would let go of the lock before it has run.
        exit
    )
    _cc_alive
}

# The shared mount, or none (_cc_mount empty): then the command gets a mount of its own.
_cc_find_mount() {
    _cc_mount=$_cc_shared
    if _cc_alive; then
        _cc_debug "using the mount $_cc_mount"
    elif [ -n "$_cc_explain" ]; then
        :
    elif ! _cc_mount_shared; then
        _cc_debug "no shared mount can be made here: $_cc_why"
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
                "Ask ${_cc_contact:-the operators}$_cc_or_singularity."
    done
    [ -x "$_cc_squashfuse" ] ||
        _cc_die "the runtime \"namespace\" needs $_cc_squashfuse, which is not on this node." \
            "Ask ${_cc_contact:-the operators}$_cc_or_singularity."
    # unshare fails after `exec`, in its own words. A mount that is there was made by somebody who could.
    if [ -z "$_cc_explain" ] && { [ -n "$_cc_nested" ] || ! _cc_alive; }; then
        _cc_unshare _cc_try_namespace "$_cc_host/setpriv" --ambient-caps=-all --inh-caps=-all -- "$_cc_host/true"
    fi
    _cc_find_mount
    _cc_unshare _cc_exec /bin/sh -c "$_cc_enter" "$_cc_label" "$_cc_mount" "$_cc_image" "$_cc_prefix" "$_cc_probe" \
        "$_cc_squashfuse" "$_cc_host" "$_cc_tries" "$_cc_serve" "$@"
}

# What is to be done ($1) with the words that run a program in a namespace.
_cc_unshare() {
    _cc_word=$1
    shift
    "$_cc_word" "$_cc_host/unshare" --user --map-current-user --mount --propagation slave --keep-caps "$@"
}

_cc_try_namespace() {
    _cc_why=$("$@" 2>&1) || _cc_die "$_cc_in_namespace needs user namespaces, which do not work here: $_cc_why." \
        "The kernel has to let users make them (sysctl user.max_user_namespaces), and util-linux has to be 2.36 or" \
        "newer. Ask ${_cc_contact:-the operators}$_cc_or_singularity."
}

_cc_run_singularity() {
    [ -x "$_cc_singularity" ] ||
        _cc_die "the runtime \"singularity\" needs $_cc_singularity, which is not on this node." \
            "Ask ${_cc_contact:-the operators}, or try CONDA_CONCEPT_RUNTIME=namespace."
    [ "$_cc_mounting" != shared ] || _cc_find_mount
    # dash has a PS1 of its own in every script; that one is nobody's.
    _cc_prompt=${PS1+=$PS1}
    [ "$_cc_prompt" != '=$ ' ] || _cc_prompt=
    _cc_own_status SigIgn:
    _cc_ignored=$_cc_value
    _cc_list_binds
    # Singularity binds the working directory by itself, last; in the release directory that would hide the image.
    # inside.sh goes back there.
    _cc_here=$PWD
    case $PWD in
    "$_cc_prefix" | "$_cc_prefix"/*) cd / ;;
    esac
    _cc_plan_tries
    if [ -n "$_cc_log" ]; then _cc_supervise "$@"; else _cc_contain _cc_exec "$@"; fi
}

# The site's folders that are here, where the command is called, the home that the user says, and where the command is.
_cc_list_binds() {
    _cc_binds=/ _cc_rest=$_cc_visible,
    while [ -n "$_cc_rest" ]; do
        _cc_word=${_cc_rest%%,*}
        _cc_rest=${_cc_rest#*,}
        [ ! -e "$_cc_word" ] || _cc_binds=$_cc_binds,$_cc_word
    done
    for _cc_word in "$PWD" "${HOME-}"; do
        case $_cc_word in
        / | '' | *[:,]* | "$_cc_prefix" | "$_cc_prefix"/*) ;;
        /*) [ ! -d "$_cc_word" ] || _cc_binds=$_cc_binds,$_cc_word ;;
        esac
    done
    case $_cc_command in
    "$_cc_prefix"/* | *[:,]*) ;;
    /*/*/*) _cc_bind_command ;;
    esac
    _cc_binds=${_cc_binds#/}
    _cc_binds=${_cc_binds#,}
}

# A link elsewhere, or a virtual environment, in a folder that would not be there.
_cc_bind_command() {
    _cc_word=${_cc_command%/*}
    if [ -e "$_cc_word/../pyvenv.cfg" ]; then _cc_word=${_cc_word%/*}; fi
    _cc_rest=$_cc_binds,
    while [ -n "$_cc_rest" ]; do
        case $_cc_word/ in "${_cc_rest%%,*}"/*) return ;; esac
        _cc_rest=${_cc_rest#*,}
    done
    _cc_binds=$_cc_binds,$_cc_word
}

# What is to be done ($1) with the words that run a command in a container.
_cc_contain() {
    _cc_word=$1
    shift
    set -- "$_cc_base" /bin/sh /.$_cc_product "$_cc_label" "$_cc_prefix" "$_cc_probe" "$_cc_err" "$_cc_ignored" \
        "${PATH-}" "${LD_LIBRARY_PATH+=$LD_LIBRARY_PATH}" "$_cc_prompt" "${PROMPT_COMMAND+=$PROMPT_COMMAND}" \
        "${HOME-}" "$_cc_here" "$@"
    if [ -n "$_cc_mount" ]; then
        set -- --bind "$_cc_mount:$_cc_prefix:ro" "$@"
    else
        set -- --bind "$_cc_image:$_cc_prefix:image-src=/" "$@"
    fi
    [ -z "$_cc_binds" ] || set -- --bind "$_cc_binds" "$@"
    [ ! -e /dev/nvidiactl ] || set -- --nv "$@"
    [ ! -e /dev/kfd ] || set -- --rocm "$@"
    "$_cc_word" "$_cc_singularity" -s exec "$@"
}

# --- trying again -----------------------------------------------------------------------------------------------

# Singularity fails after `exec`, so whoever wants to try again has to stay: as its parent, in its process group, and as
# little seen as a shell can be. The command gets the caller's descriptors, its signals once, and dies of them for both.
#
# Singularity's standard error goes into a log. Before it becomes the command, inside.sh writes one line there, and
# only then gives the command the caller's standard error: a log without that line is of a command that never ran.
#
# The command waits for nothing of this: what has to be started is started beside Singularity, which takes longer.
#
# Two descriptors that the caller does not use are needed: _cc_err takes its standard error inside, and is the log
# after that; _cc_in takes its standard input to a process that is started with &, and is the pipe to the watcher after.
_cc_plan_tries() {
    _cc_log='' _cc_err='' _cc_in=''
    if [ "$_cc_tries" -le 1 ] || [ -n "$_cc_explain" ]; then return; fi
    for _cc_word in 9 8 7 6 5 4 3; do
        if [ -L "/proc/self/fd/$_cc_word" ]; then
            :
        elif [ -z "$_cc_in" ]; then
            _cc_in=$_cc_word
        else
            _cc_err=$_cc_word
            break
        fi
    done
    [ -d "$_cc_own" ] || "$_cc_host/mkdir" -m 700 "$_cc_own" 2>/dev/null
    _cc_log=$_cc_own/start.${_cc_job:+$_cc_job.}$$
    if [ -z "$_cc_err" ]; then
        _cc_debug "one try only: the caller has all of the descriptors 3 to 9 open"
    elif ! [ -x "$_cc_host/timeout" ] || ! [ -x "$_cc_host/mkfifo" ]; then
        _cc_debug "one try only: $_cc_host/timeout or $_cc_host/mkfifo is missing"
    elif ! _cc_mine || ! { true >"$_cc_log.1"; } 2>/dev/null; then
        _cc_debug "one try only: $_cc_log.1 cannot be written"
    else
        return
    fi
    _cc_log='' _cc_err=''
}

# A signal to the whole process group has reached Singularity already; only the watcher can tell (watch.sh).
_cc_pass() {
    _cc_caught=$1 _cc_woken=1
    if [ -n "$_cc_watched" ]; then
        printf '%s\n' "$1" >&"$_cc_in"
    elif [ -n "$_cc_child" ]; then
        kill -s "$1" "$_cc_child" 2>/dev/null
    fi
}

# Beside the command: watch.sh, at the other end of a pipe of ours. The pipe is open for reading here too: so opening it
# waits for nobody, and writing to it never fails. timeout is there for one thing that a shell cannot do: what is
# started with & ignores interrupts for ever, but not if timeout starts it.
_cc_start_watcher() {
    "$_cc_host/mkfifo" -m 600 "$_cc_log.$_cc_try.pipe" || return
    eval "exec $_cc_in<>\"\$_cc_log.$_cc_try.pipe\""
    _cc_locked=
    [ -n "$_cc_mount" ] || _cc_locked=$_cc_image
    eval '"$_cc_host/timeout" --foreground 0 /bin/sh -c "$_cc_watch" "$_cc_label" "$_cc_child" "$_cc_log.$_cc_try" \
        "$_cc_locked" "$_cc_host" >/dev/null 2>&1 <"$_cc_log.$_cc_try.pipe" '"$_cc_in>&- $_cc_err<&- &"
    _cc_watched=1
}

# Wait for $_cc_child to end, in spite of signals, which are passed on; its status is in $_cc_status. The shell's own
# word about a child that died of a signal is not for the caller.
_cc_wait() {
    _cc_status=0
    while :; do
        _cc_woken=
        wait "$_cc_child" 2>/dev/null
        _cc_ended=$?
        # 127: it had ended already when the signal came.
        [ "$_cc_ended" -eq 127 ] && [ "$_cc_status" -ne 0 ] || _cc_status=$_cc_ended
        [ -n "$_cc_woken" ] || break
    done
}

# One start. _cc_started says whether the command ran, and _cc_said is what Singularity had to say.
_cc_start() {
    _cc_debug "start $_cc_try of $_cc_tries, log $_cc_log.$_cc_try: $*"
    # By the child this could be later than it is opened here.
    true >"$_cc_log.$_cc_try"
    # What the caller has closed is /dev/null in every container.
    if [ -L /proc/self/fd/2 ]; then eval "exec $_cc_err>&2"; else eval "exec $_cc_err>/dev/null"; fi
    # What is started with & has /dev/null for standard input, unless it gets it by another number.
    if [ -L /proc/self/fd/0 ]; then eval "exec $_cc_in<&0"; else eval "exec $_cc_in</dev/null"; fi
    eval '"$@" <&'"$_cc_in $_cc_in"'<&- 2>"$_cc_log.$_cc_try" &'
    _cc_child=$!
    eval "exec $_cc_err<\"\$_cc_log.$_cc_try\" $_cc_in<&-"
    _cc_start_watcher
    _cc_wait
    if [ -n "$_cc_watched" ]; then
        _cc_watched=
        printf 'done\n' >&"$_cc_in"
    fi
    # The watcher has done that long ago; but it may have been ended too, by what ended a short command.
    [ ! -e "$_cc_log.$_cc_try" ] || "$_cc_host/rm" -f "$_cc_log.$_cc_try" "$_cc_log.$_cc_try.pipe"
    _cc_child='' _cc_started='' _cc_said=''
    while IFS= read -r _cc_word || [ -n "$_cc_word" ]; do
        if [ "$_cc_word" = "$_cc_label started" ]; then
            _cc_started=1
            break
        fi
        _cc_said="$_cc_said$_cc_word
"
    done <&"$_cc_err"
    eval "exec $_cc_err<&- $_cc_in<&-"
}

_cc_supervise() {
    _cc_caught='' _cc_child='' _cc_watched='' _cc_try=1
    for _cc_word in HUP INT QUIT TERM USR1 USR2; do
        # shellcheck disable=SC2064  # the name is to be taken now
        trap "_cc_pass $_cc_word" "$_cc_word"
    done
    while :; do
        _cc_contain _cc_start "$@"
        if [ "$_cc_status" -eq 0 ] || [ -n "$_cc_started" ]; then break; fi
        if [ -z "$_cc_caught" ] && [ "$_cc_try" -lt "$_cc_tries" ]; then
            _cc_debug "the container did not start (status $_cc_status); trying again: $_cc_said"
            "$_cc_host/sleep" "$_cc_try"
        fi
        # Whoever sends a signal does not mean the next try.
        if [ -n "$_cc_caught" ]; then
            printf '%s' "$_cc_said" >&2
            break
        fi
        if [ "$_cc_try" -ge "$_cc_tries" ]; then
            printf '%s' "$_cc_said" >&2
            _cc_say "the container could not be started, $_cc_try times; the command has not run"
            _cc_report once
            break
        fi
        _cc_try=$((_cc_try + 1))
        # The mount may be what failed: look again, and without it in the end.
        if [ "$_cc_try" -eq "$_cc_tries" ]; then _cc_mount=; elif [ -n "$_cc_mount" ]; then _cc_find_mount; fi
    done
    _cc_leave
}

# End as the command did. A shell cannot tell a death by a signal from an exit with 128 and its number; the first is
# what such a status mostly is.
_cc_leave() {
    case $((_cc_status - 128)) in
    [1-9] | 1[0-6] | 2[4-7] | 29 | 3[01]) # what ends a process by default, and does not stop it
        # shellcheck disable=SC3045  # not POSIX, but dash, bash, ksh and busybox have it
        ulimit -c 0
        trap - "$((_cc_status - 128))"
        kill -"$((_cc_status - 128))" $$
        ;;
    esac
    exit "$_cc_status"
}

# --- names and paths ----------------------------------------------------------------------------------------------

# The command that a name or a path stands for, in _cc_command.
_cc_resolve() {
    _cc_self=$1
    case $_cc_self in
    /*) ;;
    *) _cc_self=$PWD/$_cc_self ;;
    esac
    _cc_name=${_cc_self##*/}
    _cc_folder=${_cc_self%/*}
    if [ -e "$_cc_folder/../pyvenv.cfg" ] || [ -e "$_cc_folder/pyvenv.cfg" ]; then
        # A virtual environment's link: Python finds the environment by the path that it was called by.
        _cc_command=$_cc_self
    elif [ -e "$_cc_prefix/bin/$_cc_name" ]; then
        # Through an alias or a link of the same name: the release that was found now, not what the link means later.
        _cc_command=$_cc_prefix/bin/$_cc_name
    else
        _cc_command=$_cc_self
    fi
}

# --explain: only what is a launcher would be run inside.
_cc_resolve_explained() {
    case $1 in
    */*) _cc_command=$1 ;;
    *)
        _cc_command=$_cc_prefix/bin/$1
        [ -e "$_cc_command" ] || _cc_command=$(command -v -- "$1") || _cc_command=$_cc_prefix/bin/$1
        ;;
    esac
    if [ "$_cc_command" -ef "$_cc_prefix/launcher" ]; then
        _cc_resolve "$_cc_command"
    elif [ -x "$_cc_command" ]; then
        _cc_say "$_cc_command is no launcher of $_cc_label: it runs as it is, outside of the image"
        shift
        _cc_exec "$_cc_command" "$@"
    else
        _cc_say "$1: no such command in $_cc_label"
        exit 127
    fi
}

# --- what is to be run ------------------------------------------------------------------------------------------

_cc_explain=${CONDA_CONCEPT_EXPLAIN:-} _cc_trace=${CONDA_CONCEPT_DEBUG:-}
_cc_log='' _cc_err='' _cc_mount=''
_cc_nested='' _cc_in_namespace='the runtime "namespace"' _cc_or_singularity=", or try CONDA_CONCEPT_RUNTIME=singularity"
_cc_runtime=${CONDA_CONCEPT_RUNTIME:-$_cc_runtime}
# In a container of ours already: the command of another environment. No container can be started in there by every
# Singularity, but a mount can.
if [ -e /.{{ product }} ]; then
    _cc_debug "inside a container of another environment: its image is mounted there"
    _cc_runtime=namespace _cc_nested=1 _cc_or_singularity=
    _cc_in_namespace="a command of another environment, called in a container,"
fi
_cc_place

case ${0##*/}:${1-} in
launcher:--explain)
    _cc_explain=1
    : "${2:?"--explain needs a command"}"
    shift
    _cc_resolve_explained "$@"
    shift
    ;;
launcher:--report)
    # With a status: of a start that was given up.
    _cc_report "${2-}"
    exit "${2:-0}"
    ;;
launcher:--run)
    _cc_command=${2:?"--run needs a program"}
    shift 2
    ;;
launcher: | launcher:--help)
    _cc_help
    exit 0
    ;;
launcher:*)
    _cc_say "$1: not a word that this launcher knows"
    _cc_help >&2
    exit 2
    ;;
*) _cc_resolve "$0" ;;
esac
_cc_debug "called as $0, running $_cc_command of $_cc_label"
{% for name in unset %}
unset {{ name }}
{% endfor %}

# A release is finished by its record. An image that was written to after that is not what was tested.
if [ -e "$_cc_prefix/release.json" ] && [ "$_cc_image" -nt "$_cc_prefix/release.json" ]; then
    _cc_die "$_cc_image was changed after it was released, so it is not started." \
        "Tell ${_cc_contact:-the operators}; 'conda-concept verify $_cc_label' says what is wrong."
fi

case $_cc_runtime in
namespace) _cc_run_namespace "$_cc_command" "$@" ;;
singularity | apptainer) _cc_run_singularity "$_cc_command" "$@" ;;
*) _cc_die "CONDA_CONCEPT_RUNTIME is \"$_cc_runtime\"; it can be \"namespace\" or \"singularity\"." ;;
esac
