# shellcheck shell=bash
# Becomes the process behind a mount. That may outlive the caller, so it keeps nothing of the caller's open (a lock, the
# end of a pipe): only bash can name a descriptor above 9. What it does keep is a shared lock on the image, as long as
# it lives: `conda-concept prune` on another node sees it, where the file system carries locks.
# Arguments: squashfuse, image, mount point, idle seconds, the host's bin.
for _cc_word in /proc/self/fd/*; do
    _cc_word=${_cc_word##*/}
    [ "$_cc_word" -le 2 ] || eval "exec $_cc_word>&-"
done
if { true <"$2"; } 2>/dev/null; then
    exec 7<"$2"
    "$5/flock" -s -w 2 7
fi
exec "$1" -o "timeout=$4" "$2" "$3" </dev/null
