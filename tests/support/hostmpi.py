"""Tiny conda packages around the host's real Open MPI, without a compiler: patchelf makes what a linker would make.

`openmpi` brings a `libmpi.so.40` that is no MPI at all, so that whoever finds it instead of the host's fails; `hydro`
is linked against `libmpi.so.40` and finds it beside itself, as conda's packages do.
"""

import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from conda_concept.localchannel import File, PackageSpec, Symlink
from conda_concept.run import find_tool, run

SITE_PACKAGES = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
#: Where Debian's libopenmpi3 is.
HOST_LIB = Path("/usr/lib/x86_64-linux-gnu")

#: A library of the host's MPI that is in no folder of the system.
HOST_ONLY = "libmpi_trace.so.1"

#: What a hook may do: add, change, remove; and a look at what network there is.
HOOK = """\
#!/bin/sh
set -e
mkdir -p "$CONDA_PREFIX/var/cache/fonts"
echo "fonts of $CONDA_PREFIX" >"$CONDA_PREFIX/var/cache/fonts/list"
echo appended >>"$CONDA_PREFIX/share/hydro/notes"
rm "$CONDA_PREFIX/share/hydro/draft"
for folder in "$CONDA_PREFIX"/lib/python3.*/site-packages; do
    echo "MADE_BY = 'the hook'" >"$folder/hydro_settings.py"
done
python3 -c 'import ctypes, sys; ctypes.CDLL(sys.prefix + "/lib/libhydro.so")' # with the host's MPI, or not at all
sed -n 's/^ *\\([a-z0-9]*\\):.*/\\1/p' /proc/net/dev >"$CONDA_PREFIX/share/hydro/interfaces"
"""

#: What `hydro` is for: a rank says who it is, after it has really talked to the others. `libhydro.so` is all that it
#: loads; MPI comes with it, or not.
PROGRAM = """\
import ctypes, os, sys
hydro = ctypes.CDLL(os.path.join(sys.prefix, "lib", "libhydro.so"))
world = ctypes.addressof(ctypes.c_char.in_dll(hydro, "ompi_mpi_comm_world"))
world, integer = ctypes.c_void_p(world), ctypes.c_void_p(ctypes.addressof(ctypes.c_char.in_dll(hydro, "ompi_mpi_int")))
add = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.in_dll(hydro, "ompi_mpi_op_sum")))
assert hydro.MPI_Init(None, None) == 0
rank, size = ctypes.c_int(), ctypes.c_int()
hydro.MPI_Comm_rank(world, ctypes.byref(rank))
hydro.MPI_Comm_size(world, ctypes.byref(size))
count = 1 << 18  # a megabyte: more than what goes with the first message
mine, total = (ctypes.c_int * count)(*[rank.value + 1] * count), (ctypes.c_int * count)()
assert hydro.MPI_Allreduce(mine, total, ctypes.c_int(count), integer, add, world) == 0
expected = size.value * (size.value + 1) // 2
assert set(total) == {expected}, set(total)
mapped = {line.split()[-1] for line in open("/proc/self/maps") if "libmpi.so" in line}
print(rank.value, size.value, os.environ.get("NODE", "here"), sys.executable, *sorted(mapped))
hydro.MPI_Finalize()
"""


def _small_library(*options: str) -> bytes:
    """A real shared library of this machine, changed by patchelf."""
    original = min(Path(sysconfig.get_config_var("DESTSHARED")).glob("*.so"), key=lambda path: path.stat().st_size)
    with tempfile.TemporaryDirectory() as work:
        copy = Path(shutil.copy(original, work))
        run([find_tool("patchelf"), *options, copy])
        return copy.read_bytes()


def openmpi() -> PackageSpec:
    """A whole MPI, as far as conda can see: libraries with their links, programs, plugins."""
    return PackageSpec(
        "openmpi",
        "4.1.6",
        build="h1234567_101",
        subdir="linux-64",
        files={
            "lib/libmpi.so.40.30.6": File(_small_library("--set-soname", "libmpi.so.40")),
            "lib/libmpi.so.40": Symlink("libmpi.so.40.30.6"),
            "lib/libmpi.so": Symlink("libmpi.so.40.30.6"),
            "lib/libmpi_mpifh.so.40": File(_small_library("--set-soname", "libmpi_mpifh.so.40")),
            "lib/openmpi/mca_btl_tcp.so": File(_small_library()),
            "bin/mpirun": "#!/bin/sh\necho 'not the mpirun of this host'\nexit 3\n",
            "bin/orted": "#!/bin/sh\nexit 3\n",
            "share/openmpi/help.txt": "help\n",
        },
    )


def external() -> PackageSpec:
    """conda-forge's way to leave MPI to the host: the name and version of a package, and nothing in it."""
    return PackageSpec("openmpi", "4.1.6", build="external_101", subdir="linux-64")


def hydro() -> PackageSpec:
    """A library that is linked against MPI, and one of Fortran that was built with GNU's compiler."""
    own = ("--set-rpath", "$ORIGIN", "--force-rpath")
    fortran = _small_library("--add-needed", "libmpi_mpifh.so.40", "--add-needed", "libgfortran.so.5", *own)
    return PackageSpec(
        "hydro",
        "1.0",
        subdir="linux-64",
        depends=("openmpi >=4.1,<5",),
        files={
            "lib/libhydro.so": File(_small_library("--add-needed", "libmpi.so.40", *own)),
            "lib/libhydro_fortran.so": File(fortran),
            "lib/libgfortran.so.5": File(_small_library("--set-soname", "libgfortran.so.5")),
            f"{SITE_PACKAGES}/hydro_settings.py": "MADE_BY = 'the package'\n",
            f"{SITE_PACKAGES}/hydro_draft.py": "",
            "share/hydro/notes": "notes\n",
            "share/hydro/draft": "draft\n",
        },
    )


def tracer() -> PackageSpec:
    """A library that is linked against one which is nowhere but below the host's MPI."""
    files = {"lib/libtracer.so": File(_small_library("--add-needed", HOST_ONLY))}
    return PackageSpec("tracer", "1.0", subdir="linux-64", files=files)


def openssh() -> PackageSpec:
    """Programs that the host has its own of."""
    ssh = "#!/bin/sh\necho 'ssh of the environment' >&2\nexit 3\n"
    return PackageSpec(
        "openssh", "9.6", subdir="linux-64", files={"bin/ssh": ssh, "bin/scp": ssh, "etc/ssh/config": "x\n"}
    )


def host_tree(root: Path) -> None:
    """Open MPI where a supercomputer has it: below one folder, the Fortran library once for each compiler."""
    for folder in ("bin", "lib/GNU", "lib/Intel"):
        (root / folder).mkdir(parents=True)
    for name in ("mpirun", "orted"):
        (root / "bin" / name).symlink_to(Path("/usr/bin", name))
    (root / "lib" / "libmpi.so.40").symlink_to(HOST_LIB / "libmpi.so.40")
    (root / "lib" / HOST_ONLY).write_bytes(_small_library("--set-soname", HOST_ONLY))
    for compiler in ("GNU", "Intel"):
        (root / "lib" / compiler / "libmpi_mpifh.so.40").symlink_to(HOST_LIB / "libmpi_mpifh.so.40")
