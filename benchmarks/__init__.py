"""How fast: each figure beside a peer or a limit that was measured in the same run."""
