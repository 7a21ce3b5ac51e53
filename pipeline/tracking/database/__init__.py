"""The tracking store as a database: `store_file` makes the file of an SQLite one, `sql_reader` reads runs in few statements."""
