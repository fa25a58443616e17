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
    # The image's tables (what there is, and where) stand at its end, in pieces of some KB that are needed one by one.
    # Read in a row they are a few requests to a file server, instead of one for each piece. Where they begin is in the
    # first block (inode_table_start, in the kernel's squashfs_fs.h).
    _cc_word=$("$5/od" -An -t u8 -j 64 -N 8 "$2" 2>/dev/null)
    [ -z "$_cc_word" ] || "$5/dd" if="$2" of=/dev/null bs=1048576 skip="$((_cc_word / 1048576))" 2>/dev/null
fi
exec "$1" -o "timeout=$4" "$2" "$3" </dev/null
