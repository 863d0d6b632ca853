"""Where the columns of an asked id come from: the registered table, a query, or a function; and a cache."""
