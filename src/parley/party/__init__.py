"""The running organisation: stages of a run, the service behind ``parley up``, simulation in one process."""
