"""Things to run and read: a whole session, the server as a file, a small test to run inside."""
