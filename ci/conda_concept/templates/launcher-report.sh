# shellcheck shell=sh disable=SC2154
# --- for a help desk -----------------------------------------------------------------------------------------------

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
