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

{% include "launcher-report.sh" %}

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

{% include "launcher-tries.sh" %}

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
