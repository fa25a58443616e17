# shellcheck shell=sh
# Runs inside the container: gives the command the caller's own environment back, and becomes the command.
# Arguments: label, prefix, probe, the descriptor of the caller's standard error or nothing, the signals that the caller
# ignores (as in /proc/self/status), PATH, then LD_LIBRARY_PATH, PS1 and PROMPT_COMMAND each as "=value" or empty for
# unset, HOME, working directory; then the command.
_cc_label=$1 _cc_prefix=$2 _cc_probe=$3 _cc_err=$4 _cc_ignored=$5
shift
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
if [ -n "$_cc_err" ]; then
    if ! [ -L "/proc/self/fd/$_cc_err" ]; then
        printf '%s: this Singularity closes open files; the site has to set start_tries to 1\n' "$_cc_label" >&2
        exit 125
    fi
    # From here on the command counts as started, and standard error is the caller's again.
    printf '%s started\n' "$_cc_label" >&2
    eval "exec 2>&$_cc_err $_cc_err>&-"
fi
# Singularity takes them back, but `nohup` means it. The last 8 of 16 digits: the other signals are of threads.
_cc_ignored=$((0x${_cc_ignored#????????})) _cc_number=1
while [ "$_cc_ignored" -gt 0 ]; do
    if [ $((_cc_ignored & 1)) -eq 1 ]; then trap '' "$_cc_number"; fi
    _cc_ignored=$((_cc_ignored >> 1)) _cc_number=$((_cc_number + 1))
done
# Something of the image is open as long as the command lives, in a descriptor that the caller does not use: where
# nothing is (a program of the host's that runs inside), the process behind the mount takes it for idle, and ends.
for _cc_word in 9 8 7 6 5 4 3; do
    if [ ! -L "/proc/self/fd/$_cc_word" ]; then
        eval "exec $_cc_word<\"\$_cc_prefix/\$_cc_probe\""
        break
    fi
done
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
