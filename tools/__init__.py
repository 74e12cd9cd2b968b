"""The controller's own commands: what the Makefile calls. Nothing here runs on a managed host."""
