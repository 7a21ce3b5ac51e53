"""The licence of an exported model: that of its base, in words and as the hub's metadata take it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pipeline.modeling.model_sources import PACKAGED, PACKAGED_ID, find_licence
from pipeline.stages.exporting.format import Exportable

# As of docs/hub/repositories-licenses.md in huggingface/hub-docs; the hub refuses a card with any other.
_IDENTIFIERS = """
afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0 bigscience-openrail-m bsd bsd-2-clause
bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0
cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0
cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m deepfloyd-if-license
ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 gemma gfdl gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2 llama3
llama3.1 llama3.2 llama3.3 lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openrail openrail++ osl-3.0 other pddl
postgresql unknown unlicense wtfpl zlib
"""


@dataclass(frozen=True)
class Licence:
    """The licence of a model that something else is made of."""

    name: str
    """As its card says it; empty where nobody says."""
    repository: str = ""
    """Of that model on the hub; empty where it is a folder."""

    @classmethod
    def of_base(cls, model: Exportable) -> Licence:
        """What the base's card says; of an adapter that says nothing, that of the model below it."""
        record, below = model.record, model.record.adapter_base
        name = find_licence(record.base, record.base_revision)
        if below and not name:
            return cls(find_licence(below, record.adapter_base_revision), model.base_id or "")
        return cls(name, PACKAGED_ID if record.base == PACKAGED else record.base if record.base_revision else "")

    def as_metadata(self) -> dict[str, Any]:
        """The entries of a card: the hub's identifier or, where it has none, a name and where that licence is said."""
        identifier = self.name.strip().lower()
        if not identifier:
            return {}
        if identifier in _IDENTIFIERS.split():
            return {"license": identifier}
        link = {"license_link": f"https://huggingface.co/{self.repository}"} if self.repository else {}
        return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", identifier).strip("-") or "custom", **link}
