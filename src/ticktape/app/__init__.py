"""The only wiring: configuration in, running parts out. One file a process: none imports what it does not run."""
