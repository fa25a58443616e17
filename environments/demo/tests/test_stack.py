"""What people do with this environment, in a few seconds: `conda-concept test` runs it inside each release."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

mpl.use("Agg")


@pytest.fixture
def data():
    return xr.Dataset({"t": (("time", "x"), np.arange(12.0).reshape(3, 4))})


@pytest.mark.parametrize("compressed", [False, True])
def test_netcdf_there_and_back_in_chunks(data, tmp_path, compressed):
    data.to_netcdf(tmp_path / "t.nc", encoding={"t": {"zlib": compressed}})
    with xr.open_dataset(tmp_path / "t.nc", chunks={"time": 1}) as back:
        assert float(back.t.mean().compute()) == 5.5


def test_a_plot(data, tmp_path):
    data.t.plot()
    plt.savefig(tmp_path / "t.png")
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
