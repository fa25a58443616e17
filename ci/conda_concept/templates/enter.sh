# shellcheck shell=sh
# Runs in a new user and mount namespace: puts the image on the prefix, gives the privileges back, becomes the command.
_cc_mount=$1 _cc_image=$2 _cc_prefix=$3 _cc_probe=$4 _cc_squashfuse=$5 _cc_host=$6 _cc_tries=$7 _cc_serve=$8
shift 8
_cc_there() { { true <"$_cc_prefix/$_cc_probe"; } 2>/dev/null; }
_cc_debug() { [ -z "${CONDA_CONCEPT_DEBUG:-}" ] || printf '%s: %s\n' "$0" "$*" >&2; }
_cc_ready=
if [ -n "$_cc_mount" ] && "$_cc_host/mount" -n -i --bind "$_cc_mount" "$_cc_prefix"; then
    # Whose server ended just now is still a mount; it would hide the image.
    if _cc_there; then _cc_ready=1; else "$_cc_host/umount" -n -i -l "$_cc_prefix"; fi
fi
if [ -z "$_cc_ready" ]; then
    # No shared mount, or it went away just now: one for this command alone. It ends by itself.
    _cc_debug "mounting the image for this command alone"
    while :; do
        _cc_why=$(
            unset LD_LIBRARY_PATH LD_PRELOAD
            exec "$_cc_host/bash" -p -c "$_cc_serve" serve "$_cc_squashfuse" "$_cc_image" "$_cc_prefix" 60 "$_cc_host" 2>&1
        )
        if _cc_there; then break; fi
        _cc_debug "it cannot be mounted: ${_cc_why:-unknown error}"
        _cc_tries=$((_cc_tries - 1))
        if [ "$_cc_tries" -le 0 ]; then
            printf '%s: cannot mount %s: %s\n' "$0" "$_cc_image" "${_cc_why:-unknown error}" >&2
            exec /bin/sh "$_cc_prefix/launcher" --report 125
        fi
        "$_cc_host/sleep" 1
    done
fi
# Something of the image is open as long as the command lives, in a descriptor that the caller does not use: where
# nothing is (a program of the host's that runs inside), the process behind the mount takes it for idle, and ends.
for _cc_word in 9 8 7 6 5 4 3; do
    if [ ! -L "/proc/self/fd/$_cc_word" ]; then
        eval "exec $_cc_word<\"\$_cc_prefix/\$_cc_probe\""
        break
    fi
done
case $PWD in
"$_cc_prefix" | "$_cc_prefix"/*) cd "$PWD" || : ;;
esac
if [ ! -x "$1" ]; then
    case $1 in
    */*)
        printf '%s: %s: no such command in this environment\n' "$0" "$1" >&2
        exit 127
        ;;
    esac
fi
exec "$_cc_host/setpriv" --ambient-caps=-all --inh-caps=-all -- "$@"
