"""Which embedder: chosen by NEONBLUE_EMBEDDER or by a parameter for what is built; by its name for what was built."""

import os
from threading import Lock

from neonblue_lab.artifacts import Artifact, ArtifactStore
from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.knowledge.corpus import CorpusEmbedder
from neonblue_lab.knowledge.corpus_training import ARTIFACT
from neonblue_lab.knowledge.embedding import Embedder
from neonblue_lab.knowledge.minilm import MiniLM, is_installed
from neonblue_lab.knowledge.openai import KEY_VARIABLE, OpenAIEmbedder

VARIABLE = "NEONBLUE_EMBEDDER"
MINILM, CORPUS, OPENAI = "minilm", "corpus", "openai"
CHOICES = (MINILM, CORPUS, OPENAI)


def choice(wanted: str = "") -> str:
    """One of CHOICES: `wanted`, else that of the environment, else minilm.

    Raises:
        BadInput: there is no such embedder.
    """
    chosen = wanted or os.environ.get(VARIABLE, "").strip() or MINILM
    if chosen not in CHOICES:
        raise BadInput(
            f"There is no embedder {chosen!r}: {VARIABLE} (or the parameter) is one of {', '.join(CHOICES)}."
        )
    return chosen


def is_ready(store: ArtifactStore) -> bool:
    """Whether the embedder of the environment has what it needs: installed weights, a key, or a training."""
    chosen = choice()
    if chosen == MINILM:
        return is_installed()
    return bool(os.environ.get(KEY_VARIABLE)) if chosen == OPENAI else _champion(store) is not None


class Embedders:
    """The embedders of a lab, each loaded once, when it is first asked for. Several threads may ask at once."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._lock = Lock()
        self._loaded: dict[str, Embedder] = {}

    def chosen(self, wanted: str = "") -> Embedder:
        """The embedder of a choice (see `choice`).

        Raises:
            BadInput: there is no such embedder.
            Unavailable: it is not installed, or has no key; the message says what to install or set.
            NotFound: `corpus` was not trained yet; the message says what trains it.
        """
        chosen = choice(wanted)
        if chosen == MINILM:
            return self.named(MiniLM.name)
        if chosen == OPENAI:
            return self.named(OpenAIEmbedder.name)
        champion = _champion(self._store)
        if champion is None:
            raise NotFound(
                "The embedder corpus was not trained yet: `lab.knowledge.train_embedder(texts)` trains it on the lab's own texts "
                f'(notebooks/30_experiment_knowledge.ipynb with embedder="{CORPUS}" does).'
            )
        return self.named(str(champion.manifest.parameters["embedder"]))

    def named(self, name: str) -> Embedder:
        """The embedder that calls itself so: what vectors of that name are to be compared with.

        Raises:
            NotFound: no embedder, or no training that is still kept, has that name.
            Unavailable: as of `chosen`.
        """
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
            return self._loaded[name]

    def _load(self, name: str) -> Embedder:
        if name == MiniLM.name:
            return MiniLM()
        if name == OpenAIEmbedder.name:
            return OpenAIEmbedder()
        versions = sorted(
            (kept for kept in self._store.list() if kept.name == ARTIFACT), key=lambda kept: -kept.version
        )
        for kept in versions:
            if kept.manifest.parameters.get("embedder") == name:
                return CorpusEmbedder.load(self._store.get(ARTIFACT, kept.version).path)
        raise NotFound(
            f"No embedder {name!r} is kept here: build the index anew (notebooks/30_experiment_knowledge.ipynb)."
        )


def _champion(store: ArtifactStore) -> Artifact | None:
    kept = (artifact for artifact in store.list() if artifact.name == ARTIFACT)
    return next((artifact for artifact in kept if artifact.alias == "champion"), None)
