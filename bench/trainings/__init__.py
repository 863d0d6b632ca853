"""What `bench/overhead.py` is made of: consortia to train in, and how two kinds of run are compared."""
