"""What experiments were about: text embeddings, and an index to search past experiments by meaning."""
