# shellcheck shell=sh
# Runs inside the container: gives the command the caller's own environment back, and becomes the command.
# Arguments: label, prefix, probe, log, PATH, then LD_LIBRARY_PATH, PS1 and PROMPT_COMMAND each as "=value" or empty
# for unset, HOME, working directory; then the command.
_cc_label=$1 _cc_prefix=$2 _cc_probe=$3 _cc_log=$4
unset APPTAINER_APPNAME APPTAINER_BIND APPTAINER_COMMAND APPTAINER_CONTAINER APPTAINER_ENVIRONMENT APPTAINER_NAME
unset SINGULARITY_APPNAME SINGULARITY_BIND SINGULARITY_COMMAND SINGULARITY_CONTAINER SINGULARITY_ENVIRONMENT
unset SINGULARITY_NAME USER_PATH LD_LIBRARY_PATH PS1 PROMPT_COMMAND
export PATH="$5" HOME="$9"
case $6 in =*) export LD_LIBRARY_PATH="${6#=}" ;; esac
case $7 in =*) export PS1="${7#=}" ;; esac
case $8 in =*) export PROMPT_COMMAND="${8#=}" ;; esac
shift 9
_cc_there=$1
shift
if ! { true <"$_cc_prefix/$_cc_probe"; } 2>/dev/null; then
    printf '%s: the image is not in place: %s/%s cannot be opened\n' "$_cc_label" "$_cc_prefix" "$_cc_probe" >&2
    exit 125
fi
if [ -n "$_cc_log" ]; then
    if ! { true >&9; } 2>/dev/null; then
        printf '%s: this Singularity closes open files; the site has to set start_tries to 1\n' "$_cc_label" >&2
        exit 125
    fi
    # From here on the command counts as started, and standard error is the caller's again.
    printf '%s started\n' "$_cc_label" >&2
    exec 2>&9 9>&-
fi
if [ "$PWD" != "$_cc_there" ] && ! cd "$_cc_there" 2>/dev/null; then
    printf '%s: the working directory %s is not visible inside\n' "$_cc_label" "$_cc_there" >&2
fi
case $1 in
*/*)
    if [ ! -x "$1" ]; then
        printf '%s: %s: no such command in this environment\n' "$_cc_label" "$1" >&2
        exit 127
    fi
    ;;
esac
exec "$@"
