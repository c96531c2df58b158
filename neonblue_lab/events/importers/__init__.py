"""Importers: a public data set or a folder of documents to the records of topics, with ids and times that never change."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from neonblue_lab.errors import BadInput
from neonblue_lab.events.importers.asos import import_asos
from neonblue_lab.events.importers.documents import import_documents
from neonblue_lab.events.importers.eshop import import_eshop
from neonblue_lab.events.importers.landing_page import import_landing_page
from neonblue_lab.events.importers.upworthy import import_upworthy
from neonblue_lab.events.records import RecordBatch

__all__ = [
    "IMPORTERS",
    "Importer",
    "import_asos",
    "import_documents",
    "import_eshop",
    "import_landing_page",
    "import_upworthy",
]


@dataclass(frozen=True)
class Importer:
    """One source that can be imported.

    Attributes:
        load: file -> batches of records; takes `clean=` where `cleaning` says what it does.
        description: what the file holds and where it comes from.
        cleaning: what `clean=True` leaves out; None where the source has nothing to clean.
    """

    load: Callable[..., Iterator[RecordBatch]]
    description: str
    cleaning: str | None = None

    def batches(self, file: Path, *, clean: bool = False) -> Iterator[RecordBatch]:
        """The records of `file`, offsets from 0. Raises BadInput for a wrong file or where nothing can be cleaned."""
        if self.cleaning is None:
            if clean:
                raise BadInput("This source has no cleaning: import it without --clean.")
            return self.load(file)
        return self.load(file, clean=clean)


IMPORTERS: dict[str, Importer] = {
    "upworthy": Importer(
        import_upworthy,
        "headline tests of the Upworthy Research Archive (Matias et al. 2021; OSF jd64p), one row per arm",
    ),
    "asos": Importer(import_asos, "ASOS Digital Experiments (Liu et al. 2021; OSF 64jsb), running totals"),
    "landing-page": Importer(
        import_landing_page,
        "one landing-page test at user level (a circulated course data set)",
        cleaning="rows whose group and page disagree, and all but the first row of a user",
    ),
    "eshop": Importer(import_eshop, "click streams of an online clothing shop in 2008 (UCI repository)"),
    "documents": Importer(
        import_documents, "briefs, post-mortems and notes: a .md, .txt or .html file, or a folder of them"
    ),
}
