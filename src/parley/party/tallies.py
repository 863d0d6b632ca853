"""What a party counts while it runs."""


class Workers:
    """Workers that were started, and how many of them for a run that had had one before."""

    def __init__(self) -> None:
        self.started = 0
        self.restarted = 0
        self._seen: set[str] = set()

    def start(self, run: str) -> None:
        """One is started for a run."""
        self.started += 1
        if run in self._seen:
            self.restarted += 1
        self._seen.add(run)
