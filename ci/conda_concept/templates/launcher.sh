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
  $_cc_prefix/launcher --help

  CONDA_CONCEPT_RUNTIME=namespace|singularity   another runtime than the site's ($_cc_runtime)
  CONDA_CONCEPT_DEBUG=1                         every decision, on standard error
  CONDA_CONCEPT_EXPLAIN=1                       like --explain, for a command called by its own name
EOF
}

# --- the image, mounted once for a user, node and job -----------------------------------------------------------

# Is the shared mount there and alive? Opening a file asks the process behind the mount; looking at it does not.
_cc_alive() {
    [ -O "$_cc_own" ] && [ ! -L "$_cc_own" ] && { true <"$_cc_mount/$_cc_probe"; } 2>/dev/null
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
        [ -O "$_cc_own" ] && [ ! -L "$_cc_own" ] || exit 2
        exec 8>"$_cc_own/lock" || exit 2
        flock -w 60 8 || exit 3
        if _cc_alive; then exit 0; fi
        if mountpoint -q "$_cc_mount" || [ -d "$_cc_mount" ]; then fusermount3 -u -q -z "$_cc_mount"; fi
        rmdir "$_cc_own"/*/
        mkdir "$_cc_mount"
        "$_cc_squashfuse" -o "timeout=$_cc_idle" "$_cc_image" "$_cc_mount" \
            </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
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
        / | '' | *[:,]*) ;;
        /*) [ ! -d "$_cc_word" ] || _cc_binds=$_cc_binds,$_cc_word ;;
        esac
    done
    _cc_binds=${_cc_binds#/}
    _cc_binds=${_cc_binds#,}
    [ -z "$_cc_binds" ] || set -- --bind "$_cc_binds" "$@"
    [ ! -e /dev/nvidiactl ] || set -- --nv "$@"
    [ ! -e /dev/kfd ] || set -- --rocm "$@"
    _cc_exec "$_cc_singularity" -s exec "$@"
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
