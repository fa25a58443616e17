# shellcheck shell=sh
# Beside a container that a launcher started, in the same process group; standard input is a pipe of the launcher's.
#
# A line is a signal that the launcher got. If this process got it too, it was for the whole group, and the container
# has it already; else it is passed on. The pipe's end without the line "done" is a launcher that was killed: then the
# container is ended. (Apptainer drops the parent-death signal that would do it for nothing.)
# Arguments: the container's process, the log (whose name is not needed any more), an image to lock or nothing, the
# host's bin.
_cc_seen='' _cc_woken=''
for _cc_word in HUP INT QUIT TERM USR1 USR2; do
    # shellcheck disable=SC2064  # the name is to be taken now
    trap "_cc_seen=\"\$_cc_seen $_cc_word \" _cc_woken=1" "$_cc_word"
done
# timeout has done its part, and would pass on what comes here anyway.
read -r _cc_word <"/proc/$PPID/comm"
if [ "$_cc_word" = timeout ]; then kill -s KILL "$PPID"; fi
"$4/rm" -f "$2" "$2.pipe"
# The lock that prune looks for, where no shared mount holds it.
if [ -n "$3" ] && { true <"$3"; }; then
    exec 8<"$3"
    "$4/flock" -s -w 2 8
fi
while :; do
    _cc_woken=
    if read -r _cc_word; then
        if [ "$_cc_word" = "done" ]; then exit; fi
        case $_cc_seen in
        *" $_cc_word "*) _cc_seen= ;;
        *) kill -s "$_cc_word" "$1" ;;
        esac
    elif [ -z "$_cc_woken" ]; then
        kill -s KILL "$1"
        exit
    fi
done
