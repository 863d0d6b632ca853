"""What of a party its own people see, as records: the commands print them, the API answers with them."""
