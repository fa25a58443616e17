"""The `.modulerc` of the product: which module each moving name stands for.

Moving names are symbolic versions of the exact module, not modulefiles of their own. So `module list`, and with it a
job's log, shows `conda_concept/analysis3-23.04` for somebody who typed `conda_concept/analysis3`, and unloading reads
the modulefile that was loaded even when the name has moved since.
"""

from collections.abc import Mapping

from conda_concept.render.quote import templates


def modulerc(product: str, aliases: Mapping[str, str], default: str | None) -> str:
    """The file's text, for Environment Modules and Lmod alike.

    Args:
        product: The first half of every module name.
        aliases: Moving names (`analysis3`) and the label that each stands for (`analysis3-23.04`).
        default: The label that a bare `module load PRODUCT` loads, None where there is no such choice.
    """
    symbols: dict[str, list[str]] = {}
    for name, label in sorted(aliases.items()):
        symbols.setdefault(label, []).append(name)
    if default is not None:
        symbols.setdefault(default, []).append("default")
    return templates().get_template("modulerc.tcl").render(product=product, names=sorted(symbols.items()))
