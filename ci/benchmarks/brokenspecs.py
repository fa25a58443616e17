"""Specs that cannot be solved, each with the one change to the real spec that broke it: does the message name it?"""

from collections.abc import Iterator
from dataclasses import dataclass

from realdata import CONFIG


@dataclass(frozen=True)
class Broken:
    """A broken variation of the spec. `expected` are all words that a message has to say to name the true cause."""

    kind: str
    environment: tuple[tuple[str, str], ...]
    config: tuple[tuple[str, str], ...]
    expected: tuple[str, ...]

    @property
    def name(self) -> str:
        """What was changed, for people."""
        changes = [
            new.rpartition("- ")[2].strip() or f"no {old.strip('- ')}" for old, new in (*self.environment, *self.config)
        ]
        return f"{self.kind}: {', '.join(changes)}"

    def apply(self, environment: str) -> tuple[str, str]:
        """The broken `environment.yml` and `config.yml`. Every change has to fit: a spec that moved on says so."""
        config = CONFIG
        for old, new in self.environment:
            if f"{old}\n" not in environment:
                raise ValueError(f"{old!r} is not in the spec any more; change the corpus")
            environment = environment.replace(f"{old}\n", f"{new}\n" if new else "", 1)
        for old, new in self.config:
            if old not in config:
                raise ValueError(f"{old!r} is not in the config any more; change the corpus")
            config = config.replace(old, new)
        return environment, config


#: What a request of the spec becomes, that no channel has.
IMPOSSIBLE = {
    "- scipy 1.17.*": "scipy 9.9.*",
    "- numpy >2.0": "numpy >=3",
    "- xarray ==2026.1.0": "xarray ==2020.1.0",
    "- python 3.12.*": "python 3.14.*",
    "- pandas 2.3.*": "pandas >=4",
    "- openmpi ==5.0.8": "openmpi ==9.9.9",
    "- r-base >=3.5": "r-base >=5",
    "- jupyterlab ==4.5.0": "jupyterlab ==4.5.99",
    "- libnetcdf * mpi_openmpi*": "libnetcdf * nompi*",
    "- hdf5 * mpi_openmpi*": "hdf5 * mpi_mpich*",
}
#: What becomes a pin that exists, and clashes with another request directly or over one package.
CLASHES = {
    "- numpy >2.0": "numpy <2",
    "- python 3.12.*": "python 3.11.*",
    "- ucx ==1.18.1": "ucx ==1.15.0",
    "- dask 2026.1.*": "dask 2025.*",
    "- esmvalcore 2.14.*": "esmvalcore 2.13.*",
    "- scikit-learn 1.8.*": "scikit-learn 1.7.*",
}
#: Pins of packages that nobody asked for, which clash with requests over several packages.
DEEP = (
    "r-scales ==1.3.0",
    "r-geomap ==2.5_0",
    "jsoncpp ==1.9.5",
    "cfitsio ==4.4.1",
    "libmamba ==2.0.2",
    "rav1e ==0.6.6",
    "libpq ==17.2",
    "aws-c-auth ==0.7.30",
    "libopencv ==4.10.0",
    "libblas ==3.11.0",
)
MACHINES = {
    '__cuda: "12.9"': ('__cuda: "12"', "__cuda"),
    '__cuda: "12.9" ': ('__cuda: "11.8"', "__cuda"),
    '__glibc: "2.28"': ('__glibc: "2.17"', "__glibc"),
}
TYPOS = {
    "- xarray ==2026.1.0": ("xaray ==2026.1.0", "xarray"),
    "- tensorflow": ("tensorfow", "tensorflow"),
    "- xgcm": ("xgmc", "xgcm"),
    "- pyarrow": ("pyarow", "pyarrow"),
    "- cartopy": ("cartopi", "cartopy"),
}
CHANNELS = {
    "- accessnri::shumlib": ("conda-forge::shumlib", ("conda-forge", "accessnri")),
    "- rapidsai::ucx-py": ("pytorch::ucx-py", ("pytorch", "rapidsai")),
}


def corpus() -> Iterator[Broken]:
    """All variations, at least thirty."""
    for old, new in IMPOSSIBLE.items():
        yield Broken("impossible pin", ((old, f"- {new}"),), (), (f"`{new}`",))
    for old, new in CLASHES.items():
        yield Broken("two pins clash", ((old, f"- {new}"),), (), (new,))
    for new in DEEP:
        yield Broken("clash through others", (("- ncdu", f"- ncdu\n- {new}"),), (), (new,))
    for old, (new, word) in MACHINES.items():
        yield Broken("wrong machine", (), ((old.strip(), new),), (f"`{word} {new.split(chr(34))[1]}`",))
    for old, (new, right) in TYPOS.items():
        yield Broken("typing mistake", ((old, f"- {new}"),), (), (f"`{new.split()[0]}`", f"`{right}`"))
    for old, (new, words) in CHANNELS.items():
        yield Broken("wrong channel", ((old, f"- {new}"),), (), words)
    for channel in ("accessnri", "pytorch", "rapidsai"):
        yield Broken("missing channel", ((f"- {channel}", ""),), (), (f"`{channel}`", "`channels:`"))
