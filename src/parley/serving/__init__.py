"""Using a released model: single predictions while somebody waits, and batches of millions of ids."""
