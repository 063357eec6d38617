"""The store: one SQLite file through apsw. Synchronous; knows rows, no rules."""
