"""The `.modulerc` of the product: which of its modules a bare `module load PRODUCT` loads.

Every name is a modulefile: moving names are symlinks, through the alias of that name, to the modulefile of the release
that it means. Symbolic versions (`module-version`) would do as well in Environment Modules, but Lmod looks them up for
`load` alone: `module unload` of a moving name did nothing, and `module switch` failed.
"""

from conda_concept.render.quote import templates


def modulerc(product: str, default: str | None) -> str:
    """The file's text, for Environment Modules and Lmod alike; `default` is a moving name, None: no such choice."""
    return templates().get_template("modulerc.tcl").render(product=product, default=default)
