"""The command line: one module a group of commands, `add(sub)` declares them, and each imports what it needs when run."""
