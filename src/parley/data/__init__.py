"""Tables, where they come from, their ids and columns, and the bins that training sees. None of it leaves."""
