"""What a party keeps: its home folder, its catalogue in SQLite, its model shares."""
