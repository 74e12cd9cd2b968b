"""`make app`: write the entry of a new app, with its secrets, into an inventory."""
