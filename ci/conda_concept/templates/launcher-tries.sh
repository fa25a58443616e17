# shellcheck shell=sh disable=SC2154
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
